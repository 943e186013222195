"""A gallery as files: its pages, its tables, what it says of what was not measured, and where it may be written."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from matplotlib import pyplot
from small_gallery import MANY, SEEDS
from small_runs import TREE

from zoo.cli import main
from zoo.errors import ZooError
from zoo.gallery import build as building
from zoo.gallery import published
from zoo.gallery.beside import published_page
from zoo.gallery.build import Sources, build, compared, sources_of, stored
from zoo.gallery.drawings import differences
from zoo.gallery.effects import Field, choices, fields
from zoo.gallery.gallery import Gallery
from zoo.gallery.pages import pages
from zoo.gallery.tables import about_verdicts
from zoo.gallery.times import Timed, timed
from zoo.lab.lab import Lab
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.report.times import render
from zoo.train.run import Run

PUBLISHED = """
[[published]]
source = "A paper, 2000"
url = "https://example.org/paper"
setting = "A network on images, one run"
figure = "accuracy"
kind = "activation"
against = "relu"
values = { relu = 0.5, mish = 0.75, serf = 0.6 }
"""
BLOCKED = [f"zoo_plugins.{name}" for name in MANY if name != "datasets"]  # it trains digits
CHECKS = [
    {
        "kind": "activation",
        "name": "mish",
        "checks": [
            {"name": "builds", "result": "passed", "note": ""},
            {"name": "speed", "result": "fact", "note": "4.71 times as long as relu"},
            {"name": "memory", "result": "fact", "note": "as much as relu"},
            {"name": "compiles", "result": "skipped", "note": "there is no compiler"},
        ],
    }
]


@pytest.fixture(scope="module")
def folder(runs_of_three: Path, small_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("built")
    (place / "published.toml").write_text(PUBLISHED)
    (place / "checks.json").write_text(json.dumps(CHECKS))
    sources = Sources(
        ledgers=(runs_of_three,),
        checks=place / "checks.json",
        published=(place / "published.toml",),
        title="Our <lab>",
        format="markdown",
    )
    build(small_registry, sources, place / "gallery")
    return place / "gallery"


def test_each_variant_and_each_kind_has_a_page(folder: Path, small_registry: Registry) -> None:
    for kind in ("activation", "normalization", "optimizer"):
        assert (folder / kind / "index.md").exists()
        for name in small_registry.variants(kind):
            assert (folder / kind / f"{name.replace('_', '-')}.md").exists()


def test_the_front_page_counts_claims_and_false_ones(folder: Path) -> None:
    text = (folder / "index.md").read_text()
    assert text.startswith("# Our &lt;lab>\n")
    assert "**4 comparisons in 2 tables: " in text
    assert "So of 2 tables at most 0.1 must be expected to hold a false claim of a difference" in text
    assert "half of those would say that one helps: 0.05." in text
    assert "seeds: 0 to 3;" in text


def test_a_base_that_is_in_several_tables_is_trained_once(folder: Path, runs_of_three: Path) -> None:
    with Ledger(runs_of_three, create=False) as ledger:
        count = len(ledger.runs())
    assert f" in {count} runs; " in (folder / "index.md").read_text()


def test_what_was_not_measured_is_said_not_to_be(folder: Path) -> None:
    assert "It was not measured" in (folder / "activation/gelu.md").read_text()
    assert "None of these was measured." in (folder / "normalization/index.md").read_text()
    assert "| not measured |" in (folder / "activation/index.md").read_text()


def test_a_variants_page_has_all_of_it(folder: Path) -> None:
    text = (folder / "activation/mish.md").read_text()
    assert "Mish: x \\* tanh(softplus(x))." in text
    assert "Paper: Misra, 2019" in text
    assert "mish with its default options, in evaluation." in text
    assert "`zoo check activation:mish`: 1 passed, 2 facts, 1 skipped." in text
    assert "fact: 4.71 times as long as relu" in text
    assert "| `compiles` | skipped: there is no compiler |" in text
    assert "; length: 6 epochs; " in text
    assert "Each interval is of " in text
    assert "so that the chance of any false claim of a difference in this table is at most 0.04." in text, (
        "of the first look at seeds"
    )
    assert "Paired by seed, on these images and this split" in text
    assert "recall after each epoch" in text
    assert "Its checks are not part of this gallery" in (folder / "activation/gelu.md").read_text()


def test_a_random_function_is_drawn_as_it_is_in_evaluation(folder: Path) -> None:
    assert "rrelu with its default options, in evaluation." in (folder / "activation/rrelu.md").read_text()


def test_tables_can_be_had_as_data(folder: Path) -> None:
    with open(folder / "activation/table-1.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["relu", "mish", "leaky_relu"]
    assert float(rows[1]["difference"]) == pytest.approx(float(rows[1]["test recall"]) - float(rows[0]["test recall"]))
    with open(folder / "activation/wins-1.csv") as file:
        rates = {(row["arm"], row["other"]): float(row["rate"]) for row in csv.DictReader(file)}
    assert rates["mish", "relu"] + rates["relu", "mish"] == pytest.approx(1)


def test_lost_runs_are_told_wherever_their_variant_is(runs_of_three: Path, small_registry: Registry) -> None:
    """A verdict on the few seeds that were not lost says nothing of the others: lost runs have one of their own."""
    with Ledger(runs_of_three, create=False) as ledger:
        stored = ledger.runs()
    runs = []
    for run in stored:
        of_mish = choices(run.spec)["network", "features", 0, "activation"][1].name == "mish"
        for more in (0, SEEDS):  # of eight, one of mish learns
            seed = run.key.seed + more
            status = "diverged" if of_mish and seed else run.status
            runs.append(attrs.evolve(run, key=attrs.evolve(run.key, seed=seed), status=status))
    found = fields(runs, {})
    (verdict,) = [one for field in found for one in field.verdicts if one.spec == "mish"]
    assert verdict.losses
    assert verdict.losses.verdict == "loses more runs", "the test is about a claim"
    made = pages(Gallery(title="T", registry=small_registry, runs=runs, fields=found, checked={}, published=[]))
    lost = f"7 of 8 (p {verdict.losses.p_of_all:.4f})"
    (row,) = [line for line in made["activation/index.md"].splitlines() if line.startswith("| [mish](mish.md) | und")]
    assert "| undecided, loses more runs |" in row
    assert f"| 1 | {lost} |" in row, "of seeds, and of lost runs"
    assert "mish, 7 of 8 lost" in made["activation/index.md"], "in the plot"
    (said,) = [line for line in made["activation/index.md"].splitlines() if line.startswith("2 changes of")]
    assert said.endswith(", 1 loses more runs.")
    assert lost in made["activation/mish.md"]
    assert "Lost: runs that diverged" in made["activation/mish.md"]
    rows = {row["variant"]: row for row in csv.DictReader(made["activation/table-1.csv"].splitlines())}
    told = [rows["mish"][name] for name in ("seeds compared", "lost", "runs", "lost verdict")]
    assert told == ["1", "7", "8", "loses more runs"]
    assert rows["relu"]["lost"] == "0"
    assert "; more runs are lost with 1, fewer with 0.**" in made["index.md"]
    assert "Claims about lost runs are corrected for themselves" in made["index.md"]


def test_tables_of_one_base_with_other_epochs_and_equal_arms_are_told_apart(
    runs_of_three: Path, small_registry: Registry
) -> None:
    with Ledger(runs_of_three, create=False) as ledger:
        runs = [run for run in ledger.runs() if run.spec["training"]["optimizer"]["name"] == "sgd"]

    def changed(run: Run, digest: str, **training: int) -> Run:
        spec = {**run.spec, "training": {**run.spec["training"], **training}}
        return attrs.evolve(run, spec=spec, key=attrs.evolve(run.key, spec=run.key.spec + digest))

    first = runs[0].epochs
    longer = [attrs.evolve(changed(run, "longer", epochs=7), epochs=first) for run in runs]
    found = fields([*runs, *longer], {})
    gallery = Gallery(title="T", registry=small_registry, runs=runs, fields=found, checked={}, published=[])
    made = pages(gallery)
    for page in ("activation/index.md", "activation/mish.md"):
        heads = [line for line in made[page].splitlines() if line.endswith("(epochs=6)") or line.endswith("(epochs=7)")]
        assert len(heads) == 2, page
    assert made["activation/index.md"].count("gave the same figures in each epoch with each seed") == 1


def test_published_figures_stand_beside_verdicts(folder: Path) -> None:
    text = (folder / "published.md").read_text()
    assert "| [mish](activation/mish.md) | +0.2500 |" in text
    assert "| serf | +0.1000 |  | not measured |" in text


@pytest.mark.parametrize(
    ("more", "here"),
    [
        ("", "undecided here"),
        ('where = "network.features.*.activation"', "not the same: everywhere"),
        ("options = { mish = { rate = 0.3 } }", "not the same: rate None"),
    ],
)
def test_what_is_not_the_same_neither_agrees_nor_disagrees(
    more: str, here: str, runs_of_three: Path, small_registry: Registry, tmp_path: Path
) -> None:
    """Dropout of 0.3 between dense layers is nothing that dropout of 0.5 before a convolution can contradict."""
    (tmp_path / "published.toml").write_text(f"{PUBLISHED}{more}\n")
    with Ledger(runs_of_three, create=False) as ledger:
        found = fields(ledger.runs(), {})
    (one,) = published.read(tmp_path / "published.toml")
    (field,) = [field for field in found if field.kind == "activation"]
    ((arm, _),) = field.of("mish")
    gallery = Gallery(title="T", registry=small_registry, runs=[], fields=found, checked={}, published=[one])
    (line,) = [line for line in published_page(gallery).splitlines() if line.startswith("| [mish]")]
    assert one.unlike(arm, "activation") == here.removeprefix("not the same: ") * here.startswith("not")
    assert ("| not the same: " in line) == here.startswith("not the same")
    assert "`everywhere`" in line


@pytest.mark.parametrize(
    ("shift", "verdict", "said"),
    [
        (0.01, "helps", "agrees"),
        (-0.01, "helps", "disagrees"),
        (0.0009, "no practical difference", "no practical difference in both"),
        (0.01, "no practical difference", "no practical difference here"),
        (0.01, "undecided", "undecided here"),
    ],
)
def test_only_a_direction_agrees(shift: float, verdict: str, said: str, runs_of_three: Path) -> None:
    """Two differences that are too small to matter may well have two directions."""
    with Ledger(runs_of_three, create=False) as ledger:
        comparison = fields(ledger.runs(), {})[0].verdicts[0].comparison
    assert published.agreement(shift, attrs.evolve(comparison, verdict=verdict)) == said


def test_the_command_repeats_a_cell(runs_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told only for specs that have a name; this one is given such."""
    plugin = tmp_path / "named.py"
    plugin.write_text(
        "import zoo\n\n\n@zoo.hookimpl\ndef zoo_register_specs(register):\n"
        '    register("mine", {"base": "starter/default", "set": {"training.epochs": 1, "data.limit": 100}})\n'
    )
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["--plugin", str(plugin), *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run(*shlex.split("benchmark mine --set training.batch_size=50 --vary activation=relu,elu --seeds 2 --jobs 1"))
    written = Sources(ledgers=(tmp_path / "zoo.sqlite",), format="markdown")
    build(Registry(block=BLOCKED, files=[plugin]), written, tmp_path / "site")
    text = (tmp_path / "site/activation/elu.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("zoo benchmark")]
    assert line == "zoo benchmark mine --set training.batch_size=50 --vary activation=relu,elu --seeds 2"
    assert "Nothing to train" in run(*shlex.split(line)[1:])


def test_training_times_are_left_out_where_that_is_asked_for(
    runs_of_three: Path, small_registry: Registry, tmp_path: Path
) -> None:
    for times in (True, False):
        place = tmp_path / str(times)
        build(small_registry, Sources(ledgers=(runs_of_three,), format="markdown", times=times), place)
        assert sources_of(place).times == times, "it is written again likewise"
        said = "Training times are not compared: other programs ran beside these runs."
        assert (said in (place / "index.md").read_text()) == (not times)
        ratios = re.findall(r"\| \d+\.\d\dx ", (place / "activation/index.md").read_text())
        assert len(ratios) == (2 if times else 0)


def test_ratios_of_zoo_time_stand_in_place_of_those_of_runs(
    runs_of_three: Path, small_registry: Registry, tmp_path: Path
) -> None:
    lab = Lab(registry=small_registry, project=None)
    tree = {**TREE, "training": {**TREE["training"], "epochs": 6}}
    timings = lab.time(tree, vary={"activation": ["relu", "mish"]}, rounds=40)
    (tmp_path / "times.json").write_text(render(timings, format_="json"))
    sources = Sources(ledgers=(runs_of_three,), format="markdown", timed=(tmp_path / "times.json",))
    build(small_registry, sources, tmp_path / "gallery")
    assert [path.resolve() for path in sources_of(tmp_path / "gallery").timed] == [(tmp_path / "times.json").resolve()]
    page, front = ((tmp_path / "gallery" / name).read_text() for name in ("activation/mish.md", "index.md"))
    pace = timings.specs[1].training
    assert f"{pace.ratio:.2f}x [{pace.low:.2f}, {pace.high:.2f}]" in page
    assert f"that `zoo time` made side by side, on {timings.device_name}, fp32, with 95% intervals" in front
    assert not re.findall(r"\d\.\d\dx", (tmp_path / "gallery/activation/leaky-relu.md").read_text()), "not measured"
    kind = (tmp_path / "gallery/activation/index.md").read_text()
    for text in (page, kind):
        assert f"side by side, on {timings.device_name}, fp32" in text, "a table's runs may be of another device"
    assert "against training time relative to the usual one; the line joins those not beaten in both." in kind
    assert "It was not measured of leaky_relu." in kind


def test_what_is_the_same_in_all_rows_is_said_once(folder: Path) -> None:
    text = (folder / "activation/index.md").read_text()
    head = next(line for line in text.splitlines() if line.startswith("| variant |"))
    assert head == "| variant | verdict | difference | p | recall | time |"
    (line,) = [line for line in text.splitlines() if line.startswith("The same for all: ")]
    assert re.fullmatch(r"The same for all: seeds 4, parameters \d+\.?\d*k?, FLOPs \d+\.?\d*k?, where `\S+`\.", line), (
        line
    )


def test_an_earlier_look_is_said(runs_of_three: Path) -> None:
    runs = []
    for run in stored([runs_of_three]):
        first = attrs.evolve(run, provenance={**run.provenance, "seeds": "4"})
        key = attrs.evolve(run.key, seed=run.key.seed + SEEDS)
        runs += [first, attrs.evolve(run, key=key, provenance={**run.provenance, "seeds": "8"})]
    for field in fields(runs, {}):
        assert " Look 2 at these comparisons, after those with 4 seeds: it has " in about_verdicts(field)


def test_ledgers_of_two_devices_have_a_base_each(runs_of_three: Path, small_registry: Registry, tmp_path: Path) -> None:
    """Runs of one spec and seed on both are two: without its own base, a table would take another variant for it."""
    with Ledger(runs_of_three, create=False) as one, Ledger(tmp_path / "other.sqlite") as other:
        for run in one.runs():
            moved = attrs.evolve(run, provenance={**run.provenance, "device_name": "another"})
            attempt = other.claim(moved)
            assert attempt is not None
            for epoch in moved.epochs:
                other.add_epoch(attempt, epoch)
            other.finish(attempt, moved)
    found = compared(small_registry, stored([runs_of_three, runs_of_three, tmp_path / "other.sqlite"]))
    alone = compared(small_registry, stored([runs_of_three]))
    for device in ("another", alone[0].heading.device_name):
        own = [field for field in found if field.heading.device_name == device]
        assert [(field.kind, field.base.label) for field in own] == [(field.kind, field.base.label) for field in alone]
        assert [len(field.runs) for field in own] == [len(field.runs) for field in alone]


def test_a_few_large_differences_do_not_hide_the_others(runs_of_three: Path, small_registry: Registry) -> None:
    """Arrows at the edge stand for what is far off, and the caption says how far."""
    (field,) = [each for each in compared(small_registry, stored([runs_of_three])) if each.kind == "activation"]

    def with_differences(*values: float) -> Field:
        small = [attrs.evolve(field.verdicts[0].comparison, difference=v, low=v - 0.01, high=v + 0.01) for v in values]
        arms = tuple(attrs.evolve(field.arms[0], label=f"arm {number}") for number in range(len(values)))
        verdicts = tuple(attrs.evolve(field.verdicts[0], comparison=one) for one in small)
        return attrs.evolve(field, arms=arms, verdicts=verdicts)

    (near,) = differences(with_differences(0.01, -0.01, 0.02), 1)
    assert near.caption == "Differences with their corrected intervals."
    (far,) = differences(with_differences(0.01, -0.01, 0.0, 0.02, -0.8), 1)
    assert far.caption.endswith(" intervals. What reaches the edge goes on beyond it. Arrows: arm 4: -0.8000.")
    axes = far.draw(None)
    low, high = axes.get_xlim()
    assert -0.2 < low < high < 0.2
    assert [line.get_marker() for line in axes.lines].count("<") == 1
    pyplot.close("all")


def test_a_ratio_counts_only_on_the_data_set_and_in_the_precision_of_the_runs(
    runs_of_three: Path, small_registry: Registry
) -> None:
    """What a spec is does not say on which images it is trained, and these decide how long a step takes."""
    field = next(each for each in compared(small_registry, stored([runs_of_three])) if each.kind == "activation")
    arm, base = field.arms[0], field.base
    right = Timed(
        spec=arm.runs[0].key.spec,
        reference=base.runs[0].key.spec,
        dataset=field.heading.dataset,
        precision="fp32",
        device_name="any",
        ratio=1.5,
        low=1.4,
        high=1.6,
    )
    for one, ratio in (
        (right, 1.5),
        (attrs.evolve(right, dataset="cifar10"), None),
        (attrs.evolve(right, precision="bf16"), None),
        (attrs.evolve(right, reference=right.spec), None),
    ):
        (found,) = timed([field], [one])
        assert [verdict.time_ratio for verdict in found.verdicts] == [ratio, None]


@pytest.mark.parametrize("content", ["", "[]", "{}", "[{}, {}]", '[{"identity": "a"}, {"identity": "b"}]'])
def test_what_is_no_table_of_times_is_refused(content: str, small_registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text(content)
    with pytest.raises(ZooError, match=rf"^{file} does not hold what `zoo time SPEC\.\.\. --json` prints$"):
        build(small_registry, Sources(ledgers=(), timed=(file,)), tmp_path / "gallery")
    file.unlink()
    with pytest.raises(ZooError, match=f"^the times in {file} cannot be read: No such file or directory$"):
        build(small_registry, Sources(ledgers=(), timed=(file,)), tmp_path / "gallery")


def test_it_is_written_again_of_what_it_was_made_of(folder: Path, small_registry: Registry) -> None:
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    build(small_registry, sources_of(folder), folder)
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before


def test_other_folders_are_left_alone(tmp_path: Path, small_registry: Registry) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(ZooError, match="holds something else than a gallery; name a folder that is new or empty"):
        build(small_registry, Sources(ledgers=()), tmp_path)
    with pytest.raises(ZooError, match=r"is no folder; name one that is new"):
        build(small_registry, Sources(ledgers=()), tmp_path / "letter.txt")
    with pytest.raises(ZooError, match=r"holds no gallery; `zoo gallery build -o .*` makes one"):
        sources_of(tmp_path)


def test_pages_that_are_not_sound_leave_the_old_ones(
    tmp_path: Path, small_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery/gallery.json").write_text("{}")
    monkeypatch.setattr(building, "html", lambda *_, **__: 1)
    with pytest.raises(ZooError, match="the gallery's pages are not sound"):
        build(small_registry, Sources(ledgers=()), tmp_path / "gallery")
    assert [file.name for file in tmp_path.rglob("*")] == ["gallery", "gallery.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "it is not TOML in UTF-8"),
        ("a = 1", r"expected tables under \[\[published\]\]"),
        ("[[published]]\nsource = 'A'", "published 1: expected against, figure, kind, setting, source, url, values"),
        (PUBLISHED.replace('"A paper, 2000"', "1"), "source: expected a text, got 1"),
        (PUBLISHED.replace("0.75", '"0.75"'), "expected a table of numbers from 0 to 1 by variant"),
        (PUBLISHED.replace('"relu"', '"gelu"'), "it has no figure of 'gelu', which the others are held against"),
    ],
)
def test_published_figures_are_read_strictly(text: str, message: str, tmp_path: Path, small_registry: Registry) -> None:
    (tmp_path / "published.toml").write_text(text)
    with pytest.raises(ZooError, match=message):
        build(small_registry, Sources(ledgers=(), published=(tmp_path / "published.toml",)), tmp_path / "gallery")


def test_what_check_did_not_print_is_refused(tmp_path: Path, small_registry: Registry) -> None:
    (tmp_path / "checks.json").write_text("{}")
    (tmp_path / "list.json").write_text("[1]")
    for file in ("list.json", "published.toml"):
        with pytest.raises(ZooError, match="--checks"):
            build(small_registry, Sources(ledgers=(), checks=tmp_path / file), tmp_path / "gallery")
