"""What is exported gives, loaded back, the predictions that the ledger counted; what cannot be exported says why."""

from __future__ import annotations

import errno
import json
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from small_runs import PLUGIN, planned_run, small
from torch import Tensor

from zoo.data import resized
from zoo.errors import DataError, LedgerError, PluginError, SpecError, UnknownNameError, ZooError
from zoo.export import formats
from zoo.export.card import model_card
from zoo.export.choice import Chosen, choose, final_recall, of_current_source, on_these_images, stored_runs
from zoo.export.destination import Destination, destination
from zoo.export.errors import ExportError
from zoo.export.formats import FORMATS, check_packages, write
from zoo.export.network import FILE, Classifier, Description, check_repeatable, describe, load_exported
from zoo.export.reproduce import device_of, train_again
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import Spec, unstructure
from zoo.spec.resolve import resolve
from zoo.statistics.intervals import mean_interval
from zoo.train.execute import dataset, execute
from zoo.train.run import EpochRecord, Evaluation, Run

OWN = """
import torch
from torch import nn

import zoo


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([1.5]))

    def forward(self, x):
        return 2 * self.factor * x


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.ones(1))
        self.second = self.first

    def forward(self, x):
        return self.first * x + self.second


@zoo.hookimpl
def zoo_register_activations(register):
    register("scaled", Scaled)
    register("branches", Branches)
    register("tied", Tied)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-file plugin with an activation that has a weight, and one whose path depends on the images."""
    file = tmp_path_factory.mktemp("own") / "own.py"
    file.write_text(OWN)
    return file


@pytest.fixture(scope="module")
def registry(own: Path) -> Registry:
    return Registry(files=[PLUGIN, own]).require_sound()


def trained(spec: Spec, registry: Registry, seed: int = 0, **key: Any) -> Run:
    """Return a run as the ledger would hold it."""
    run = planned_run(spec, registry, seed)
    *epochs, ended = execute(attrs.evolve(run, key=attrs.evolve(run.key, **key)), registry, "cpu")
    assert isinstance(ended, Run)
    assert ended.status == "finished", ended.reason
    return attrs.evolve(ended, epochs=tuple(e for e in epochs if isinstance(e, EpochRecord)))


def exported(run: Run, spec: Spec, registry: Registry) -> tuple[Classifier, Description]:
    data = dataset(spec, registry, "cpu")
    return describe(train_again(run, spec, data, device="cpu", registry=registry), run)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> tuple[tuple[int, ...], ...]:
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
    return tuple(map(tuple, counts.tolist()))


SPECS = {
    "plain": {},
    "normalized": {"network.features.0.normalization": "batch", "data.mean": "train", "data.std": "train"},
    "dropout": {"network.classifier.0.dropout": "dropout", "data.validation": 0.3},
    "own weight": {"network.features.0.activation": "scaled"},
    "tied weights": {"network.features.0.activation": "tied"},
    "six views": {"evaluation.prediction": "six_views"},
    "averaged": {"training.averaging": {"name": "ema", "decay": 0.5}, "network.features.0.normalization": "batch"},
}


@pytest.fixture(scope="module", params=SPECS)
def network(request: pytest.FixtureRequest, registry: Registry) -> tuple[Run, Spec, Classifier, Description]:
    """A run and its network."""
    spec = small(registry, sets=SPECS[request.param])
    run = trained(spec, registry)
    return run, spec, *exported(run, spec, registry)


def runner(name: str, file: Path, registry: Registry) -> Callable[[Tensor], Tensor]:
    """Load a file as whoever was given it would."""
    if name == "safetensors":
        return load_exported(file, registry=registry)
    if name == "torch-export":
        return torch.export.load(file).module()
    session = pytest.importorskip("onnxruntime").InferenceSession(file.read_bytes())
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize("name", FORMATS)
def test_loaded_back_it_predicts_what_the_ledger_counted(
    network: tuple[Run, Spec, Classifier, Description], name: str, registry: Registry, tmp_path: Path
) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package)
    run, spec, classifier, description = network
    data = dataset(spec, registry, "cpu")
    file = tmp_path / f"net{FORMATS[name].ending}"
    file.write_bytes(write(name, classifier, description, data.test.images, registry))
    loaded = runner(name, file, registry)
    for part, evaluation in run.epochs[-1].evaluations.items():
        split = getattr(data, part)
        with torch.no_grad():
            predicted = loaded(split.images).argmax(1)
            alone = loaded(split.images[:1]).argmax(1)
        assert confusion(predicted, split.labels, 4) == evaluation.confusion, part
        assert alone.tolist() == predicted[:1].tolist(), "a batch of one image"


@pytest.fixture(scope="module")
def plain(registry: Registry) -> tuple[Run, Spec, Classifier, Description]:
    spec = small(registry, sets=SPECS["normalized"])
    run = trained(spec, registry)
    return run, spec, *exported(run, spec, registry)


@pytest.fixture(scope="module")
def file(
    plain: tuple[Run, Spec, Classifier, Description], registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    _, spec, classifier, description = plain
    path = tmp_path_factory.mktemp("exported") / FILE
    images = dataset(spec, registry, "cpu").test.images
    path.write_bytes(write("safetensors", classifier, description, images, registry))
    return path


@given(images=arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(1), st.just(6), st.just(6))))
def test_any_images_are_normalized_as_in_training(
    plain: tuple[Run, Spec, Classifier, Description], file: Path, registry: Registry, images: np.ndarray
) -> None:
    _, spec, classifier, _ = plain
    pixels = dataset(spec, registry, "cpu").train.images.double() / 255
    normalized = (torch.from_numpy(images).double() / 255 - pixels.mean()) / pixels.std(correction=0)
    with torch.no_grad():
        expected = classifier.network(normalized.float())
        found = load_exported(file, registry=registry)(torch.from_numpy(images))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_loaded_network_is_ready_and_says_what_it_is(file: Path, registry: Registry) -> None:
    network = load_exported(file.parent, registry=registry)
    assert not network.training
    assert network.classes == ("a", "b", "c", "d")
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    described = json.loads(metadata["zoo"])
    assert described["name"] == "small"
    assert described["spec"]["data"]["mean"] == "train"
    assert described["key"]["seed"] == 0


def test_a_run_in_bf16_is_exported_in_float32(registry: Registry) -> None:
    spec = small(registry)
    classifier, description = exported(trained(spec, registry, precision="bf16"), spec, registry)
    assert {tensor.dtype for tensor in classifier.state_dict().values()} == {torch.float32}
    assert description.key["precision"] == "bf16"
    with torch.no_grad():
        assert classifier(torch.zeros(2, 1, 6, 6, dtype=torch.uint8)).dtype == torch.float32


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_pickled_is_read(file: Path, registry: Registry, tmp_path: Path, monkeypatch: Any) -> None:
    bad = tmp_path / "net.safetensors"
    bad.write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(ZooError, match=r"net\.safetensors is no safetensors file, or it is damaged: "):
        load_exported(bad)
    torch.save({"weights": Harmful(tmp_path / "harm")}, bad)
    with pytest.raises(ZooError, match="is no safetensors file"):
        load_exported(bad)
    assert not (tmp_path / "harm").exists()

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
    load_exported(file, registry=registry)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"gone\.safetensors cannot be read: No such file or directory"):
        load_exported(tmp_path / "gone.safetensors")
    with pytest.raises(ZooError, match=r"model\.safetensors cannot be read: No such file"):
        load_exported(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"zoo": "no"}, {"zoo": '{"version": 99}'}, {"zoo": "[]"}])
def test_a_file_that_is_not_zoo_s(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "net.safetensors", metadata)
    with pytest.raises(ZooError, match=r"is not a network that this zoo exported: its metadata do not say what it is"):
        load_exported(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "2 * self.factor",
            "3 * self.factor",
            "the network gives something else than when it was exported: the source",
        ),
        ("torch.tensor([1.5])", "torch.ones(1, 1)", "its weights do not fit the network: the source of a variant has"),
        ('register("scaled"', 'register("other"', "its network cannot be built here: "),
    ],
)
def test_a_variant_that_was_edited_since(registry: Registry, tmp_path: Path, old: str, new: str, message: str) -> None:
    spec = small(registry, sets=SPECS["own weight"])
    classifier, description = exported(trained(spec, registry), spec, registry)
    images = dataset(spec, registry, "cpu").test.images
    file = tmp_path / "net.safetensors"
    file.write_bytes(write("safetensors", classifier, description, images, registry))
    load_exported(file, registry=registry)
    (tmp_path / "own.py").write_text(OWN.replace(old, new))
    with pytest.raises(ZooError, match="net.safetensors: " + message):
        load_exported(file, registry=Registry(files=[PLUGIN, tmp_path / "own.py"]))


def test_a_network_that_draws_in_evaluation_is_refused(registry: Registry) -> None:
    check_repeatable(small(registry, sets=SPECS["dropout"]), (1, 6, 6), 4, registry)
    spec = small(registry, sets={"network.classifier.0.dropout": {"name": "dropout", "always_on": True}})
    with pytest.raises(ZooError, match=r"small cannot be exported: a layer draws random numbers in evaluation, so"):
        check_repeatable(spec, (1, 6, 6), 4, registry)


def test_a_layer_that_a_format_does_not_have(registry: Registry) -> None:
    spec = small(registry, sets={"network.features.0.activation": "branches"})
    classifier, description = exported(trained(spec, registry), spec, registry)
    images = dataset(spec, registry, "cpu").test.images
    assert write("safetensors", classifier, description, images, registry)
    with pytest.raises(ExportError, match=r"small cannot be written as torch-export: .* format_='safetensors' keeps"):
        write("torch-export", classifier, description, images, registry)


def test_a_file_that_gives_something_else_is_not_written(
    plain: tuple[Run, Spec, Classifier, Description], registry: Registry, monkeypatch: Any
) -> None:
    _, spec, classifier, description = plain
    images = dataset(spec, registry, "cpu").test.images

    def wrong(*arguments: Any) -> formats.Written:
        return formats.Written(b"", lambda images: classifier(images).detach() * 1.01)

    monkeypatch.setitem(FORMATS, "onnx", attrs.evolve(FORMATS["onnx"], write=wrong))
    with pytest.raises(ExportError, match=r"small as onnx gives other logits than the network: a layer does something"):
        write("onnx", classifier, description, images, registry)


def test_packages_that_are_missing_are_named(monkeypatch: Any) -> None:
    check_packages("safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name != "onnx" else object())
    with pytest.raises(ZooError) as caught:
        check_packages("onnx")
    assert str(caught.value) == (
        "format_='onnx' needs onnxscript and onnxruntime, which are not installed: pip install 'layer-zoo[export]'"
    )


def counted_otherwise(run: Run, **provenance: str) -> Run:
    """Return the run with one test image predicted otherwise."""
    counts = [list(row) for row in run.epochs[-1].evaluations["test"].confusion]
    row = next(row for row in counts if sum(row))
    column = next(index for index, count in enumerate(row) if count)
    row[column] -= 1
    row[(column + 1) % len(row)] += 1
    evaluations = {**run.epochs[-1].evaluations, "test": Evaluation(tuple(map(tuple, counts)))}
    last = attrs.evolve(run.epochs[-1], evaluations=evaluations)
    return attrs.evolve(run, epochs=(*run.epochs[:-1], last), provenance={**run.provenance, **provenance})


@pytest.mark.parametrize(
    ("provenance", "why"),
    [
        ({}, "Versions and hardware are the same, as far as the ledger tells."),
        ({"torch": "1.0", "device_name": "abacus"}, "What differs: device_name abacus then, .* now; torch 1.0 then, "),
    ],
)
def test_a_run_that_does_not_come_out_as_it_did(registry: Registry, provenance: dict[str, str], why: str) -> None:
    spec = small(registry)
    run = counted_otherwise(trained(spec, registry), **provenance)
    with pytest.raises(ExportError, match=why) as caught:
        exported(run, spec, registry)
    text = str(caught.value)
    assert text.startswith("small seed 0, trained again, does not come out as the ledger says: at least 0 of 27 train ")
    assert "at least 1 of 13 test images are predicted otherwise. " in text
    assert text.endswith("Export it where it was trained; or train it here into another ledger, and export that")
    assert caught.value.exit_code == 1


def test_a_run_that_diverges_when_it_is_trained_again(registry: Registry) -> None:
    run = trained(small(registry), registry)
    spec = small(registry, sets={"network.features.0.activation": "explodes"})
    with pytest.raises(ExportError, match=r"as the ledger says: it diverged at epoch 1: the training loss is nan. "):
        exported(run, spec, registry)


def test_a_layer_that_raises(registry: Registry) -> None:
    run = trained(small(registry), registry)
    spec = small(registry, sets={"network.features.0.activation": "raises"})
    with pytest.raises(PluginError, match=r"^small: it cannot be trained: a layer raised "):
        exported(run, spec, registry)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here(registry: Registry) -> None:
    run = trained(small(registry), registry)
    assert device_of(run) == "cpu"
    with pytest.raises(ZooError, match=r"small seed 0 was trained on cuda, and there is none here: export it where"):
        device_of(attrs.evolve(run, provenance={"device": "cuda"}))


def made(seed: int, recalls: dict[str, float], **changes: Any) -> Run:
    """Make up a run of two classes whose last epoch has these recalls, to a hundredth."""
    evaluations = {
        part: Evaluation(
            ((round(100 * recall), 100 - round(100 * recall)), (100 - round(100 * recall), round(100 * recall)))
        )
        for part, recall in recalls.items()
    }
    key = planned_key(seed)
    tree = {"training": {"epochs": 1}, "data": {"validation": 0.0}}
    run = Run(key, "net", tree, "squares", status="finished", epochs=(EpochRecord(1, 0.5, 0.1, 0.1, evaluations),))
    return attrs.evolve(run, **changes)


def planned_key(seed: int) -> Any:
    from zoo.train.run import RunKey

    return RunKey("spec" * 16, seed, "data", "source", "fp32")


@given(
    tests=st.lists(st.integers(0, 100), min_size=1, max_size=6),
    validations=st.lists(st.integers(0, 100), min_size=6, max_size=6),
    held_out=st.booleans(),
)
def test_the_best_is_chosen_on_validation_where_there_is_one(
    registry: Registry, tests: list[int], validations: list[int], held_out: bool
) -> None:
    runs = [
        made(seed, {"test": test / 100, **({"validation": validations[seed] / 100} if held_out else {})})
        for seed, test in enumerate(tests)
    ]
    chosen = choose(runs[::-1], "best", small(registry))
    part = "validation" if held_out else "test"
    figures = validations[: len(tests)] if held_out else tests
    assert final_recall(chosen.run, part) == max(figures) / 100
    assert [run.key.seed for run in chosen.siblings] == list(range(len(tests)))
    assert chosen.selected_on == (part if len(tests) > 1 else None)
    assert bool(chosen.remark) is (chosen.selected_on == "test")


def test_a_run_is_chosen_by_its_seed(registry: Registry) -> None:
    runs = [made(seed, {"test": 0.5}) for seed in (3, 1)]
    spec = small(registry)
    chosen = choose(runs, 3, spec)
    assert (chosen.run.key.seed, chosen.selected_on, chosen.remark) == (3, None, "")
    with pytest.raises(LedgerError, match=r"^no run of small with seed 2 has finished; there are seeds 1, 3$"):
        choose(runs, 2, spec)
    with pytest.raises(LedgerError, match=r"^no run of small with seed 2 has finished; there is seed 1$"):
        choose(runs[1:], 2, spec)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        yield ledger


def store(ledger: Ledger, *runs: Run) -> None:
    for run in runs:
        attempt = ledger.claim(run)
        assert attempt is not None
        for epoch in run.epochs:
            ledger.add_epoch(attempt, epoch)
        ledger.finish(attempt, run)


def test_runs_are_found_by_name(ledger: Ledger, registry: Registry) -> None:
    runs = [made(0, {"test": 0.5}), made(1, {"test": 0.6})]
    store(ledger, *runs, made(2, {"test": 0.1}, status="diverged", reason="nan"))
    assert stored_runs("net", ledger, registry) == runs
    assert stored_runs("net.toml", ledger, registry) == runs


def test_runs_of_several_kinds_are_told_apart(ledger: Ledger, registry: Registry) -> None:
    one = made(0, {"test": 0.5})
    key = attrs.evolve(one.key, spec="twin" * 16, dataset="other images", precision="bf16")
    tree = {"training": {"epochs": 3}, "data": {"validation": 0.2}}
    other = attrs.evolve(one, key=key, dataset="rounds", spec=tree)
    store(ledger, one, other)
    with pytest.raises(LedgerError) as caught:
        stored_runs("net", ledger, registry)
    listed = (
        "\n  data='squares' epochs=1 precision='fp32': squares, 1 epoch, fp32; seed 0"
        "\n  data='rounds' epochs=3 precision='bf16': rounds, 3 epochs, 20% of training held out, bf16; seed 0"
    )
    assert str(caught.value) == (
        f"{ledger.path} holds runs of net that are not of one kind. Say which, by what differs:{listed}"
    )
    for options in ({"identity": "twintwi"}, {"dataset": "rounds"}, {"epochs": 3}, {"precision": "bf16"}):
        assert stored_runs("net", ledger, registry, **options) == [other]
    with pytest.raises(LedgerError) as caught:
        stored_runs("net", ledger, registry, dataset="rounds", precision="fp32")
    assert str(caught.value) == f"none of the runs of net in {ledger.path} is such a one. There are:{listed}"


def test_what_is_shared_is_not_asked_for(ledger: Ledger, registry: Registry) -> None:
    one = made(0, {"test": 0.5})
    long = attrs.evolve(
        one, key=attrs.evolve(one.key, spec="long" * 16), spec={**one.spec, "training": {"epochs": 3, "warmup": 0.0}}
    )
    again = attrs.evolve(long, key=attrs.evolve(long.key, seed=1))
    warm = attrs.evolve(
        long, key=attrs.evolve(one.key, spec="warm" * 16), spec={**one.spec, "training": {"epochs": 3, "warmup": 0.1}}
    )
    store(ledger, one, long, again)
    with pytest.raises(LedgerError) as caught:
        stored_runs("net", ledger, registry)
    assert str(caught.value).splitlines()[1:] == [
        "  epochs=1: squares, 1 epoch, fp32; seed 0",
        "  epochs=3: squares, 3 epochs, warmup=0.0, fp32; seeds 0, 1",
    ]
    store(ledger, warm)
    with pytest.raises(LedgerError) as caught:
        stored_runs("net", ledger, registry, epochs=3)
    assert str(caught.value).splitlines()[1:] == [
        "  identity='longlon': squares, 3 epochs, warmup=0.0, fp32; seeds 0, 1",
        "  identity='warmwar': squares, 3 epochs, warmup=0.1, fp32; seed 0",
    ], "a digest is named where nothing else tells them apart"


def test_runs_on_one_data_set_by_several_names_are_of_one_kind(ledger: Ledger, registry: Registry) -> None:
    one, two = made(0, {"test": 0.5}), attrs.evolve(made(1, {"test": 0.6}), dataset="./moved/squares")
    store(ledger, one, two)
    assert stored_runs("net", ledger, registry) == [one, two]
    for name in ("squares", "./moved/squares"):
        assert stored_runs("net", ledger, registry, dataset=name) == [one, two]


def test_the_spec_is_that_of_a_place_where_the_images_still_are(ledger: Ledger, registry: Registry) -> None:
    spec = resolve({"base": "starter/default", "set": {"data.dataset": "folder:gone"}}, registry=registry)
    here = resolve("starter/default", registry=registry)
    runs = [
        attrs.evolve(
            made(seed, {"test": 0.5}),
            key=attrs.evolve(made(seed, {}).key, source=source_digest(here, registry)),
            spec=unstructure(one),
            dataset=one.data.dataset,
        )
        for seed, one in enumerate((spec, here, spec))
    ]
    assert of_current_source(runs, registry)[0].data.dataset == here.data.dataset


def test_a_run_that_is_not_there(ledger: Ledger, registry: Registry) -> None:
    store(ledger, made(0, {}, status="failed", reason="no", epochs=()))
    with pytest.raises(LedgerError, match=r"^no run of net in .* has finished: `zoo results --failed net` says why$"):
        stored_runs("net", ledger, registry)
    with pytest.raises(LedgerError, match=r"there is no run of starter/4c in .*: `zoo benchmark starter/4c` trains it"):
        stored_runs("starter/4c", ledger, registry)
    with pytest.raises(UnknownNameError, match=r"no spec is called 'nets', and .* holds no run .*; did you mean net\?"):
        stored_runs("nets", ledger, registry)


def test_a_source_that_was_edited_and_images_that_are_others(registry: Registry) -> None:
    spec = small(registry)
    run = trained(spec, registry)
    stale = attrs.evolve(run, key=attrs.evolve(run.key, source="before"))
    assert of_current_source([stale, run], registry) == (spec, [run])
    with pytest.raises(LedgerError, match=r"the source of a variant of small is not what it was when its runs were"):
        of_current_source([stale], registry)
    with pytest.raises(SpecError, match="no activation is called 'scaled'"):
        of_current_source([trained(small(registry, sets=SPECS["own weight"]), registry)], Registry(files=[PLUGIN]))
    assert on_these_images([run], run.key.dataset) == [run]
    with pytest.raises(DataError, match="the images of squares are not those that small was trained on: bring those"):
        on_these_images([run], "others")


def test_the_model_card_says_what_it_is(registry: Registry) -> None:
    spec = small(registry, sets={**SPECS["own weight"], "data.validation": 0.3})
    runs = [trained(spec, registry, seed) for seed in (0, 1, 2)]
    data = dataset(spec, registry, "cpu")
    chosen = choose(runs, "best", spec)
    card = model_card(chosen, data, format_="safetensors", file=FILE, registry=registry)
    _, front, body = card.split("---\n", 2)
    assert front == "library_name: zoo\npipeline_tag: image-classification\n"
    mean, interval = mean_interval([final_recall(run, "test") for run in runs])
    assert f"| test | {final_recall(chosen.run, 'test'):.4f} | {mean:.4f} ± {interval:.4f} |" in body
    assert "| validation | " in body
    assert f"the one of highest recall on the validation part, seed {chosen.run.key.seed}." in body
    counts = f"{len(data.train)} training, {len(data.validation)} validation, 13 test images"
    assert f"Squares (`squares`): {counts}. SHA-256" in body
    assert "`. Noted: one was upside down." in body
    assert "the shape (batch, 1, 6, 6)" in body
    assert "in the order of the logits: a, b, c, d." in body
    assert "the single file own.py" in body
    assert "| torch | " + torch.__version__ in body
    assert "## Licence" in body
    assert json.loads(body.partition("```json\n")[2].partition("```")[0]) == chosen.run.spec


def test_the_model_card_has_the_line_that_resizes_as_training_did(registry: Registry) -> None:
    side = 4
    spec = small(registry, sets={"data.resize": side})
    run = trained(spec, registry, 0)
    chosen = Chosen(run=run, spec=spec, siblings=(run,), selected_on=None)
    data = dataset(spec, registry, "cpu")
    card = model_card(chosen, data, format_="safetensors", file=FILE, registry=registry)
    assert "Images of another size were brought to 4x4 pixels, whatever their shape, by bilinear interpolation" in card
    code = card.partition("before and after.")[0].rpartition("```python\n")[2].partition("```")[0]
    for shape in ((13, 1, 6, 6), (5, 3, 9, 2), (3, 3, 2, 40)):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        variables: dict[str, Any] = {"images": torch.from_numpy(images)}
        exec(code, variables)
        assert np.array_equal(variables["images"].numpy(), resized(images, side))
    original = dataset(small(registry), registry, "cpu").test.images
    variables = {"images": original}
    exec(code, variables)
    assert torch.equal(variables["images"], data.test.images)


@pytest.mark.parametrize("name", FORMATS)
def test_the_code_in_the_model_card_works(
    plain: tuple[Run, Spec, Classifier, Description],
    name: str,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package)
    run, spec, classifier, description = plain
    data = dataset(spec, registry, "cpu")
    chosen = Chosen(run=run, spec=spec, siblings=(run,), selected_on=None)
    file = f"net{FORMATS[name].ending}"
    (tmp_path / file).write_bytes(write(name, classifier, description, data.test.images, registry))
    card = model_card(chosen, data, format_=name, file=file, registry=registry)
    code = card.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zoo.export.network.default_registry", lambda: registry)
    variables: dict[str, Any] = {}
    exec(code, variables)
    assert tuple(variables["logits"].shape) == (1, 4)
    assert ("pickled" in card) is (name == "torch-export")


def test_a_file_or_a_folder(tmp_path: Path) -> None:
    assert destination(tmp_path / "net.onnx", ".onnx") == Destination(tmp_path / "net.onnx", tmp_path / "net.onnx.md")
    folder = tmp_path / "new"
    files = destination(folder, ".safetensors")
    assert files == Destination(folder / "model.safetensors", folder / "README.md")
    files.write(b"weights", "text")
    assert (files.network.read_bytes(), files.card.read_text()) == (b"weights", "text")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ZooError, match=r"output=.*: there is a .*README\.md already; name another place, or remove it"):
        destination(tmp_path, ".safetensors")
    (tmp_path / "net.pt2").touch()
    with pytest.raises(ZooError, match=r"there is a .*net\.pt2 already"):
        destination(tmp_path / "net.pt2", ".pt2")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name, ending in (("net.foo", ".safetensors"), ("net.pt", ".onnx"), ("net.onnx", ".pt2")):
        with pytest.raises(ZooError) as caught:
            destination(tmp_path / name, ending)
        assert str(caught.value) == (
            f"output={str(tmp_path / name)!r}: no network is written to a file that ends so; this format's ends in "
            f"{ending} (known: .safetensors, .onnx, .pt2). For a folder of that name, make it first"
        )
    (tmp_path / "net.foo").mkdir()
    for name in ("net.foo", "net-v1.2"):
        assert destination(tmp_path / name, ".onnx").network == tmp_path / name / "model.onnx"


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(ZooError, match=r"output=.*: there is no folder .*/a; make it first"):
        destination(tmp_path / "a" / "b", ".onnx")
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match=r"there is no folder .*/file; make it first"):
        destination(tmp_path / "file" / "net.onnx", ".onnx")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ZooError, match=r"output=.*: the folder .* cannot be written; name another place"):
        destination(tmp_path / "net.onnx", ".onnx")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    files = destination(tmp_path / "net.onnx", ".onnx")
    write_bytes = Path.write_bytes

    def fails(self: Path, data: bytes) -> int:
        if ".md" in self.name:
            write_bytes(self, data[:1])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(ExportError, match=r"cannot be written: No space left on device. Make room, or name another"):
        files.write(b"weights", "text")
    assert list(tmp_path.iterdir()) == []


def test_recall_is_of_the_last_epoch() -> None:
    assert final_recall(made(0, {"test": 0.25}), "test") == 0.25
    assert math.isnan(final_recall(made(0, {"test": 0.25}), "validation"))
