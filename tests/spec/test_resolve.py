"""From names, files, patterns and variations to resolved specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributions import Install

from zoo.errors import SpecError, UnknownNameError, ZooError
from zoo.registry import Registry
from zoo.spec import structure, unstructure
from zoo.spec.changes import overridden
from zoo.spec.resolve import resolve, select, vary

FULL = """
[network]
features = [{ filters = 4 }]
[training]
epochs = 1
[data]
dataset = "digits"
"""


@pytest.fixture
def with_specs(install: Install) -> Any:
    """Make a registry with the given specs beside zoo's own."""

    def make(specs: dict[str, Any]) -> Registry:
        text = f"from zoo import hookimpl\nSPECS = {specs!r}\n@hookimpl\ndef zoo_register_specs(register):\n"
        install("mine", {"mine.py": text + "    for name in SPECS: register(name, SPECS[name])\n"}, "mine")
        return Registry().require_sound()

    return make


# Names, files, mappings.


def test_a_name_a_file_a_mapping_and_a_spec_resolve(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "starter/default"\ndescription = "mine"\n[set]\n"filter.size" = 1\n')
    for spec in (resolve(file, registry=registry), resolve(str(file), registry=registry)):
        assert (spec.name, spec.description) == ("mine", "mine")
        assert [block.filter.options.size for block in spec.network.features] == [1, 1, 1]
    mapping = resolve({"base": "starter/default", "set": {"filter.size": 1}}, registry=registry)
    assert (mapping.name, mapping.identity) == ("(unnamed)", spec.identity)
    assert resolve(mapping, registry=registry) is mapping
    file.write_text(FULL)
    assert resolve(file, registry=registry).network.features[0].filters == 4


def test_the_default_registry_is_that_of_all_installed_plugins(registry: Registry) -> None:
    assert resolve("starter/4c") == resolve("starter/4c", registry=registry)


def test_paths_need_no_quotes_in_a_file(registry: Registry, tmp_path: Path) -> None:
    quoted, bare = tmp_path / "quoted.toml", tmp_path / "bare.toml"
    base = 'base = "starter/default"\n[set]\n'
    quoted.write_text(base + '"training.epochs" = 3\n"training.optimizer.learning_rate" = 0.5\n')
    bare.write_text(base + "training.epochs = 3\ntraining.optimizer.learning_rate = 0.5\n")
    specs = [resolve(file, registry=registry) for file in (quoted, bare)]
    assert specs[0].identity == specs[1].identity
    assert specs[1].training.optimizer.options.momentum == 0.9, "what is not stated comes from the base"


def test_a_derived_spec_takes_description_but_not_reference_from_its_base(registry: Registry) -> None:
    base = resolve("eq2425/default", registry=registry)
    derived = resolve({"base": "eq2425/default", "set": {"training.epochs": 3}}, registry=registry)
    assert base.reference is not None
    assert derived.reference is None, "a publication's figures are not those of a changed spec"
    assert derived.description == base.description
    own = {"base": "eq2425/default", "description": "d", "reference": {"source": "s", "test_recall": 1}}
    assert resolve(own, registry=registry).reference.test_recall == 1.0  # type: ignore[union-attr]
    assert (base.reference.epochs, base.reference.dataset) == (base.training.epochs, base.data.dataset)
    assert resolve(own, registry=registry).identity == base.identity


def test_bases_of_bases(with_specs: Any) -> None:
    registry = with_specs(
        {
            "mine/a": {"base": "starter/default", "set": {"training.epochs": 3}},
            "mine/b": {"base": "mine/a", "set": {"training.batch_size": 32}},
        }
    )
    spec = resolve("mine/b", registry=registry)
    assert (spec.name, spec.training.epochs, spec.training.batch_size) == ("mine/b", 3, 32)
    assert structure(unstructure(spec), "full", registry).identity == spec.identity


@pytest.mark.parametrize(
    ("specs", "name", "expected"),
    [
        ({"a": {"base": "a"}}, "a", "spec 'a' is its own base: a -> a"),
        ({"a": {"base": "b"}, "b": {"base": "c"}, "c": {"base": "a"}}, "a",
            "spec 'a' is its own base: a -> b -> c -> a"),
        ({"a": {"base": "starter/defalt"}}, "a",
            "spec 'a': base: no spec is called 'starter/defalt'; did you mean starter/default"),
        ({"a": {"base": 5}}, "a", "spec 'a': base: expected the name of a registered spec or a TOML file, got 5"),
        ({"a": {"base": ["b"]}}, "a",
            "spec 'a': base: expected the name of a registered spec or a TOML file, got ['b']"),
        ({"a": {"base": "starter/default", "set": 5}}, "a",
            "spec 'a': set: expected a table of paths and values, got 5"),
        ({"a": {"base": "starter/default", "description": 5}}, "a", "spec 'a': description: expected a string, got 5"),
        ({"a": {"base": "starter/default", "reference": {}}}, "a", "spec 'a': reference.source: required, but not"),
        ({"a": {"base": "starter/default", "training": {"epochs": 3}}}, "a",
            "spec 'a': it has a base, so it changes [training] by paths under [set], not by a section"),
        ({"a": {"base": "starter/default", "set": {"training.epochs": 10}}}, "a",
            "a: training.epochs = 10 changes nothing: it is that already"),
        ({"a": {"base": "starter/default", "set": {"training.epoch": 3}}}, "a",
            "a: the path 'training.epoch' matches nothing: training has no 'epoch'; did you mean epochs?"),
        ({"a": {"base": "starter/default", "set": {"filter.size": 0}}}, "a",
            "spec 'a' is not valid:\n  network.features[0].filter.size: expected a positive int, got 0"),
        ({"a": {}}, "a", "spec 'a' is not valid:\n  network: required, but not there\n  training: required"),
    ],
)  # fmt: skip
def test_a_spec_that_does_not_resolve(with_specs: Any, specs: dict[str, Any], name: str, expected: str) -> None:
    registry = with_specs(specs)
    with pytest.raises(ZooError) as caught:
        resolve(name, registry=registry)
    assert str(caught.value).startswith(expected)
    assert resolve("starter/default", registry=registry), "the others still resolve"


def test_a_registered_file_that_is_gone_is_an_error(install: Install) -> None:
    text = "from pathlib import Path\nfrom zoo import hookimpl\n@hookimpl\ndef zoo_register_specs(register):\n"
    install("mine", {"mine.py": text + "    register('a', Path('/no/such.toml'))\n"}, "mine")
    with pytest.raises(SpecError, match=r"^cannot read the spec file /no/such\.toml: No such file or directory$"):
        resolve("a", registry=Registry().require_sound())


# Patterns.


def test_select_takes_names_wildcards_and_files_each_once(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FULL)
    specs, broken = select(["starter/4*", "starter/default", str(file), "starter/4c", str(file)], registry=registry)
    starters = [name for name in registry.specs if name.startswith("starter/4")]
    assert [spec.name for spec in specs] == [*starters, "starter/default", "mine"]
    assert broken == []


def test_select_leaves_out_what_only_a_wildcard_names_and_is_not_valid(with_specs: Any) -> None:
    registry = with_specs({"mine/good": {"base": "starter/default"}, "mine/bad": {"base": "gone"}})
    specs, (line,) = select(["mine/*"], registry=registry)
    assert [spec.name for spec in specs] == ["mine/good"]
    assert line.startswith("Left out: mine/bad: spec 'mine/bad': base: no spec is called 'gone'")
    with pytest.raises(UnknownNameError, match="base: no spec is called 'gone'"):
        select(["mine/bad"], registry=registry)


def test_a_pattern_that_matches_nothing_is_an_error(registry: Registry) -> None:
    with pytest.raises(UnknownNameError) as caught:
        select(["startr/*"], registry=registry)
    assert str(caught.value).startswith("no spec matches 'startr/*'")
    assert str(caught.value).endswith(f"`zoo list --kind spec` shows all {len(registry.specs)}.")


def test_two_files_of_one_name_are_an_error(registry: Registry, tmp_path: Path) -> None:
    for folder, epochs in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(FULL.replace("epochs = 1", f"epochs = {epochs}"))
    with pytest.raises(SpecError, match=r"b/mine\.toml: another spec is called 'mine' too; rename one of the two"):
        select([str(tmp_path / "a/mine.toml"), str(tmp_path / "b/mine.toml")], registry=registry)


# Variations.


def test_vary_gives_every_combination_for_every_spec(registry: Registry) -> None:
    specs = [resolve(name, registry=registry) for name in ("starter/default", "starter/4e")]
    variations: dict[str, list[Any]] = {
        "activation": ["tanh", {"name": "leaky_relu", "slope": 0.2}],
        "training.epochs": [1, 2, 3],
    }
    varied = vary(specs, variations, registry=registry)
    assert len(varied) == len({spec.identity for spec in varied}) == 12
    assert [spec.name for spec in varied[:4]] == [
        "starter/default[activation=tanh, training.epochs=1]",
        "starter/default[activation=tanh, training.epochs=2]",
        "starter/default[activation=tanh, training.epochs=3]",
        "starter/default[activation=leaky_relu(slope=0.2), training.epochs=1]",
    ]
    for spec in varied:
        text = f"activation={spec.network.features[0].activation}, training.epochs={spec.training.epochs}]"
        assert spec.name.endswith(text), "the name does not say what the spec is"


def test_varying_to_what_a_spec_has_leaves_it_and_its_reference(registry: Registry) -> None:
    default = resolve("eq2425/default", registry=registry)
    own, other = vary([default], {"training.optimizer.learning_rate": [0.001, 0.1]}, registry=registry)
    assert own.identity == default.identity
    assert own.reference == default.reference
    assert own.name == "eq2425/default[training.optimizer.learning_rate=0.001]"
    assert other.identity == resolve("eq2425/5b", registry=registry).identity
    assert other.reference is None, "the report's figures are not those of another spec"


def test_other_epochs_or_images_leave_a_reference_what_it_is_of(registry: Registry) -> None:
    default = resolve("eq2425/default", registry=registry)
    changed = overridden(default, {"training.epochs": 3, "data.dataset": "folder:images"}, registry=registry)
    assert changed.reference == default.reference
    for path, value in {"data.resize": 16, "data.validation": 0.25}.items():
        assert overridden(default, {path: value}, registry=registry).reference is None


def test_a_value_given_twice_is_tried_once(registry: Registry) -> None:
    default = resolve("starter/default", registry=registry)
    assert len(vary([default], {"activation": ["relu", "tanh", "relu"]}, registry=registry)) == 2
    assert len(vary([default, default], {"activation": ["relu", "tanh"]}, registry=registry)) == 2


def test_without_variations_the_specs_stay(registry: Registry) -> None:
    specs = [resolve(name, registry=registry) for name in ("starter/default", "eq2425/4e")]
    assert vary(specs, {}, registry=registry) == specs


def test_a_variation_that_cannot_be_is_an_error(registry: Registry) -> None:
    default = resolve("starter/default", registry=registry)
    with pytest.raises(SpecError, match="the path 'activatoin' matches nothing: nothing in the spec is called"):
        vary([default], {"activatoin": ["relu"]}, registry=registry)
    with pytest.raises(UnknownNameError, match="no activation is called 'relru'"):
        vary([default], {"activation": ["relru"]}, registry=registry)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b'\xef\xbb\xbfbase = "starter/default"\n')
    assert resolve(file).identity == resolve("starter/default").identity
