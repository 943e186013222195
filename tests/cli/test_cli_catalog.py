from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import zoo_plugins
from zoo.data import Described, load, source, takes_path
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS
from zoo.report import layout

Zoo = Callable[..., Result]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of 80 columns."""
    monkeypatch.setattr(layout, "terminal_width", lambda: 80)
    return 80


def too_wide(text: str, width: int) -> list[str]:
    return [line for line in text.splitlines() if len(line) > width]


def test_list_has_everything_registered(zoo: Zoo, registry: Registry) -> None:
    words = zoo("list").stdout.replace("(", " ").split()
    names = {name for kind in KINDS for name in registry.variants(kind)} | set(registry.specs)
    assert names <= set(words), names - set(words)


@pytest.mark.parametrize("kind", ["spec", *KINDS])
def test_list_of_one_kind_has_that_kind_only(zoo: Zoo, registry: Registry, kind: str) -> None:
    records = json.loads(zoo("list", "--kind", kind, "--json").stdout)
    assert {record["kind"] for record in records} == {kind}
    known = registry.specs if kind == "spec" else registry.variants(kind)
    assert sorted(record["name"] for record in records) == sorted(known)
    text = zoo("list", "--kind", kind).stdout
    assert text.startswith(f"{kind}: ")
    for record in records:
        assert record["description"] in text, "in a pipe nothing is cut or folded"


def test_list_names_options(zoo: Zoo) -> None:
    assert "  leaky_relu(slope) " in zoo("list", "--kind", "activation").stdout


def test_an_unknown_kind_is_refused(zoo: Zoo) -> None:
    result = zoo("list", "--kind", "activations")
    assert result.exit_code == 2
    assert "no kind is called 'activations'; did you mean activation" in result.stderr
    assert "The kinds are spec, activation, " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["data", "list"],
        ["plugins"],
        ["show", "starter/default"],
        ["show", "modern/residual"],
        ["show", "filter:conv"],
    ],
    ids=" ".join,
)
def test_what_is_listed_fits_the_terminal(zoo: Zoo, narrow: int, arguments: list[str]) -> None:
    result = zoo(*arguments)
    assert result.exit_code == 0
    # A path is as long as it is, and is not broken.
    assert not too_wide(result.stdout.replace(str(Path(zoo_plugins.__file__).parents[1]), ""), narrow)


def test_a_folded_description_hangs_below_itself(zoo: Zoo, narrow: int) -> None:
    lines = zoo("list", "--kind", "spec").stdout.splitlines()
    (index,) = [i for i, line in enumerate(lines) if line.startswith("  eq2425/default ")]
    start = lines[index].index("The study's default")
    assert lines[index + 1][:start].isspace()
    assert lines[index + 1][start] != " "


def test_a_long_list_of_options_is_folded_too(zoo: Zoo, narrow: int) -> None:
    lines = zoo("list", "--kind", "filter").stdout.splitlines()
    (first,) = [line for line in lines if line.startswith("  conv(")]
    assert first.index("Convolution with") <= 44


def test_show_prints_the_layers_with_shapes_and_costs(zoo: Zoo) -> None:
    text = zoo("show", "starter/default").stdout
    assert "input 1x8x8, 10 classes (digits)" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    # 24 filters of 5x5 on one channel, at each of 8x8 places, a multiply-add counted as two.
    assert lines["features.0.filter"][-3:] == ["24x8x8", "624", "76.8k"]
    assert lines["output"][-3:] == ["10", "5.13k", "10.2k"]
    assert "10 epochs, batches of 64 in file order; sgd(learning_rate=0.05, momentum=0.9)" in text


def test_show_tells_of_training_what_is_not_usual(zoo: Zoo) -> None:
    text = zoo("show", "starter/default").stdout
    assert "averaging" not in text
    sets = ("training.clip_norm=0.5", "training.accumulate=2", "averaging=lookahead", "prediction=flip")
    text = " ".join(zoo("show", "starter/default", *(word for each in sets for word in ("--set", each))).stdout.split())
    assert "averaging lookahead" in text
    assert text.endswith("accumulate 2; clip_norm 0.5; prediction flip")


def test_a_spec_without_a_description_and_of_one_epoch(zoo: Zoo, folder: Path) -> None:
    spec = "[network]\nfeatures = [{ filters = 4 }]\n[training]\nepochs = 1\n[data]\ndataset = 'digits'\n"
    Path("plain.toml").write_text(spec, encoding="utf-8")
    lines = zoo("show", "plain.toml").stdout.splitlines()
    assert lines[0] == "plain"
    assert lines[-1].startswith("1 epoch, batches of ")


def test_show_as_json_adds_up(zoo: Zoo) -> None:
    shown = json.loads(zoo("show", "starter/4e", "--json").stdout)
    assert shown["input_shape"] == [1, 8, 8]
    assert shown["classes"] == 10
    assert shown["parameters"] == sum(layer["parameters"] for layer in shown["layers"])
    assert shown["flops"] == sum(layer["flops"] for layer in shown["layers"])


def test_show_spec_prints_what_has_that_identity(zoo: Zoo, folder: Path) -> None:
    shown = json.loads(zoo("show", "starter/4c", "--spec").stdout)
    (listed,) = [r for r in json.loads(zoo("list", "--kind", "spec", "--json").stdout) if r["name"] == "starter/4c"]
    assert shown["identity"] == listed["identity"]
    assert shown["network"]["features"][0]["activation"]["name"] == "leaky_relu"


def test_show_changes_the_spec_first(zoo: Zoo) -> None:
    changed = zoo("show", "starter/default", "--set", "network.features.0.filters=7", "--set", "data.resize=32").stdout
    assert "input 1x32x32" in changed
    assert "  7x32x32  " in changed
    same = zoo("show", "starter/default", "--set", "training.epochs=10", "--data", "digits")
    assert same.stdout == zoo("show", "starter/default").stdout, "a value that it has already changes nothing"


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("cifar10", "input 3x32x32, 10 classes (cifar10)"),
        ("cifar100", "input 3x32x32, 100 classes (cifar100)"),
        ("mnist", "input 1x28x28, 10 classes (mnist)"),
        ("fashion_mnist", "input 1x28x28, 10 classes (fashion_mnist)"),
        ("svhn", "input 3x32x32, 10 classes (svhn)"),
    ],
)
def test_show_knows_images_that_are_not_at_hand(zoo: Zoo, dataset: str, expected: str) -> None:
    assert expected in zoo("show", "eq2425/default", "--data", dataset).stdout


def test_show_resizes_images_that_are_not_at_hand(zoo: Zoo) -> None:
    assert "input 1x32x32, 10" in zoo("show", "eq2425/default", "--data", "mnist", "--set", "data.resize=32").stdout


def test_every_data_set_that_is_downloaded_is_described(registry: Registry) -> None:
    for name, variant in registry.variants("dataset").items():
        if takes_path(variant):
            continue
        origin = source(name, registry)
        assert isinstance(origin, Described) or origin.missing() is None, f"`zoo show --data {name}` does not work"
        if isinstance(origin, Described) and origin.missing() is None:
            data = load(name, registry)
            assert (origin.shape, origin.class_count) == (data.shape, len(data.classes))


def test_show_of_images_that_nobody_knows_says_so(zoo: Zoo) -> None:
    result = zoo("show", "starter/default", "--data", "folder:nowhere")
    assert result.exit_code == 2
    assert "folder:nowhere is not at hand: there is no folder nowhere" in result.stderr


def test_show_reports_a_network_that_does_not_fit(zoo: Zoo) -> None:
    result = zoo("show", "eq2425/default", "--data", "digits")
    assert result.exit_code == 2
    assert "does not fit its input of" in result.stderr
    assert "Traceback" not in result.stderr


def test_show_of_a_variant_prints_its_options(zoo: Zoo) -> None:
    text = zoo("show", "activation:leaky_relu").stdout
    assert text.startswith("activation leaky_relu: ")
    assert "From zoo_plugins.activations (layer-zoo, " in text
    assert "0.01" in text
    assert "It has no options." in zoo("show", "activation:relu").stdout
    record = json.loads(zoo("show", "activation:leaky_relu", "--json").stdout)
    assert record["options"] == {"slope": 0.01}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("starter/defualt", "no spec is called 'starter/defualt'; did you mean starter/default"),
        ("filter:cnov", "no filter is called 'cnov'; did you mean conv?"),
        ("fitler:conv", "no kind is called 'fitler'; did you mean filter?"),
        ("missing.toml", "cannot read the spec file missing.toml: No such file or directory"),
    ],
)
def test_show_of_what_is_not_there(zoo: Zoo, name: str, message: str) -> None:
    result = zoo("show", name)
    assert result.exit_code == 2
    assert message in result.stderr


def test_plugins_lists_what_each_registered(zoo: Zoo, registry: Registry) -> None:
    records = {record["name"]: record for record in json.loads(zoo("plugins", "--json").stdout)}
    assert list(records) == list(registry.plugins)
    assert len(records["zoo_plugins.dropouts"]["registered"]) == len(registry.variants("dropout"))
    assert "spec starter/default" in records["zoo_plugins.starter"]["registered"]
    text = zoo("plugins", "starter").stdout
    assert text.startswith("zoo_plugins.starter (layer-zoo, ")
    assert "registered: spec starter/default, spec starter/4a1, " in text


def test_an_unknown_plugin_is_refused(zoo: Zoo) -> None:
    result = zoo("plugins", "zoo_plugins.droputs")
    assert result.exit_code == 2
    assert "no plugin is called 'zoo_plugins.droputs'; did you mean zoo_plugins.dropouts" in result.stderr


def test_data_list_says_what_is_at_hand(zoo: Zoo) -> None:
    records = {record["name"]: record for record in json.loads(zoo("data", "list", "--json").stdout)}
    assert records["digits"]["at_hand"] is True
    assert records["cifar10"]["at_hand"] is False
    assert "has no cifar-10-python.tar.gz" in records["cifar10"]["missing"]
    assert records["folder:PATH"]["at_hand"] is None
    lines = {line.split()[0]: line for line in zoo("data", "list").stdout.splitlines()}
    assert "  at hand  " in lines["digits"]
    assert "  zoo data get cifar10  " in lines["cifar10"]
    assert "  your own files  " in lines["folder:PATH"]


def test_data_get_of_what_is_at_hand(zoo: Zoo) -> None:
    result = zoo("data", "get", "digits")
    assert result.exit_code == 0
    assert "1,442 training and 355 test images of 1x8x8, 10 classes" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digtis", "no dataset is called 'digtis'; did you mean digits?"),
        ("folder:nowhere", "there is no folder nowhere"),
        ("folder", "the data set 'folder' needs a path: write folder:PATH"),
    ],
)
def test_data_get_of_what_cannot_be_had(zoo: Zoo, name: str, message: str) -> None:
    result = zoo("data", "get", name)
    assert result.exit_code == 2
    assert message in result.stderr
