"""What decides a run's key stays as it was: runs that zoo 0.1.0 stored are found by every later version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import pytest

import zoo
import zoo_plugins
from zoo.registry.source import SAME_FIGURES, source_digest
from zoo.spec import Spec, paths
from zoo.spec.resolve import resolve

RECORDED = json.loads((Path(__file__).parents[1] / "v0_1_0" / "identities.json").read_text(encoding="utf-8"))
PLACES = {
    "block": "network.features.0.block",
    "optimizer": "training.optimizer",
    "schedule": "training.schedule",
    "loss": "training.loss",
    "augmentation": "training.augmentation",
}
"""Where a variant of a kind is put into starter/residual; others everywhere."""


def with_variant(kind: str, name: str, registry: zoo.Registry) -> Spec:
    spec = resolve("starter/residual", registry=registry)
    try:
        return paths.apply(spec, {PLACES.get(kind, kind): [name] if kind == "augmentation" else name}, registry)
    except paths.NoChangeError:
        return spec


@pytest.mark.parametrize("name", RECORDED["specs"])
def test_each_spec_of_0_1_0_has_its_identity(name, registry):
    assert resolve(name, registry=registry).identity == RECORDED["specs"][name][0]


@pytest.mark.parametrize("name", RECORDED["variants"])
def test_each_variant_of_0_1_0_has_its_options(name, registry):
    assert with_variant(*name.split(":"), registry).identity == RECORDED["variants"][name][0]


def test_sources_of_0_1_0_are_vouched_for(registry):
    specs = {name: resolve(name, registry=registry) for name in RECORDED["specs"]}
    specs |= {name: with_variant(*name.split(":"), registry) for name in RECORDED["variants"]}
    recorded = RECORDED["specs"] | RECORDED["variants"]
    changed = sorted(name for name, spec in specs.items() if source_digest(spec, registry) != recorded[name][1])
    if changed:
        folder = Path(zoo_plugins.__file__).parent
        table = (folder / SAME_FIGURES).read_text(encoding="utf-8")
        contents = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.py"))}
        unknown = "\n".join(f"{name}: {digest}" for name, digest in contents.items() if digest not in table)
        pytest.fail(
            f"runs that were stored of {', '.join(changed)} are no longer found. Of these contents, those that cannot "
            f"change a figure belong into {SAME_FIGURES}, with the digest that they had in 0.1.0:\n{unknown}",
            pytrace=False,
        )


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


VARIANT = "import zoo\n\ndef gentle(shape):\n    import torch\n    return torch.nn.Tanh()\n\n@zoo.hookimpl\n"
VARIANT += "def zoo_register_activations(register):\n    register('gentle', gentle)\n"


def digest(folder: Path, text: str, vouched: str = "") -> str:
    folder.mkdir()
    (folder / "gentle.py").write_text(text, encoding="utf-8")
    if vouched:
        (folder / SAME_FIGURES).write_text(vouched, encoding="utf-8")
    registry = zoo.Registry(files=[folder / "gentle.py"]).require_sound()
    spec = resolve({"base": "starter/default", "set": {"activation": "gentle"}}, registry=registry)
    return source_digest(spec, registry)


def test_an_edit_that_is_vouched_for_keeps_the_digest_and_a_further_one_does_not(tmp_path):
    edited = VARIANT + "# a comment\n"
    vouched = f'["gentle.py"]\n{digest_of(edited)} = "{digest_of(VARIANT)}"\n'
    before = digest(tmp_path / "a", VARIANT)
    assert digest(tmp_path / "b", edited) != before
    assert digest(tmp_path / "c", edited, vouched) == before
    assert digest(tmp_path / "d", edited + "# another\n", vouched) != before


@pytest.mark.parametrize("text", ["[", "a = 1", '["gentle.py"]\nabc = "def"', "x = [1]"])
def test_a_table_that_cannot_be_read_is_an_error_that_names_it(text, tmp_path):
    with pytest.raises(zoo.ZooError, match=rf"{SAME_FIGURES} cannot be used: "):
        digest(tmp_path / "a", VARIANT, text)


def registered(tmp_path: Path, options: str) -> zoo.Registry:
    text = VARIANT.replace("import zoo\n", "from typing import Annotated\nimport zoo\n")
    file = tmp_path / "gentle.py"
    file.write_text(text.replace("gentle(shape)", f"gentle(shape, *, {options})"), encoding="utf-8")
    return zoo.Registry(files=[file]).require_sound()


TREE = {"base": "starter/default", "set": {"activation": "gentle"}}


def test_an_option_added_later_changes_no_identity_while_it_has_its_default(tmp_path):
    before = resolve(TREE, registry=registered(tmp_path, "slope: float = 1.0"))
    options = "slope: float = 1.0, bias: Annotated[zoo.PositiveFloat, zoo.LATER] = 2.0"
    registry = registered(tmp_path, options + ", on: Annotated[bool, zoo.LATER] = False")
    assert resolve(TREE, registry=registry).identity == before.identity
    for change in ({"bias": 3.0}, {"on": True}, {"slope": 0.5}):
        stated = {"base": "starter/default", "set": {"activation": {"name": "gentle", **change}}}
        assert resolve(stated, registry=registry).identity != before.identity
    with pytest.raises(zoo.ZooError, match="a positive number"):
        resolve({"base": "starter/default", "set": {"activation": {"name": "gentle", "bias": -1}}}, registry=registry)


def test_an_option_that_is_not_marked_changes_the_identity(tmp_path):
    before = resolve(TREE, registry=registered(tmp_path, "slope: float = 1.0"))
    after = resolve(TREE, registry=registered(tmp_path, "slope: float = 1.0, on: bool = False"))
    assert after.identity != before.identity


def test_the_mark_is_an_annotation():
    assert Annotated[bool, zoo.LATER].__metadata__ == (zoo.LATER,)
