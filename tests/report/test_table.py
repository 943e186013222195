from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from tabulate import tabulate_formats

from zoo.errors import ZooError
from zoo.report import layout
from zoo.report.table import COLUMNS, render
from zoo.report.text import byte_size, duration, folded, quantity, rough_duration, rough_range, with_interval
from zoo.statistics.intervals import mean_interval
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

RIGHT = ((9, 1), (2, 8))  # macro recall 0.85
WRONG = ((5, 5), (5, 5))  # macro recall 0.5


ABOUT = {"epochs": 2, "dataset": "digits"}


def spec(**changes: Any) -> dict[str, Any]:
    """Return a resolved spec as plain data, with values set by `section__field`."""
    tree: dict[str, Any] = {
        "network": {"features": [{"activation": {"name": "relu"}}, {"activation": {"name": "relu"}}]},
        "training": {"epochs": 2, "optimizer": {"name": "sgd", "learning_rate": 0.1}},
        "data": {"dataset": "digits", "resize": None, "validation": 0.0},
        "evaluation": {"every": 1, "measure": "final"},
        "reference": None,
    }
    for path, value in changes.items():
        *sections, field = path.split("__")
        node = tree
        for section in sections:
            node = node[section]
        node[field] = value
    return tree


def run(name: str = "a/default", seed: int = 0, confusion: Any = RIGHT, **changes: Any) -> Run:
    tree = changes.pop("spec", spec())
    key = RunKey(
        changes.pop("identity", f"identity of {name}"),
        seed,
        changes.pop("digest", "images"),
        changes.pop("source", "source"),
        "fp32",
    )
    evaluation = Evaluation(confusion), Evaluation(confusion, 0.25)
    epochs = (
        EpochRecord(1, 1.0, 1.0, 0.1, {"train": Evaluation(WRONG, 0.75), "test": Evaluation(WRONG, 0.75)}),
        EpochRecord(2, 0.5, 1.5, 0.1, {"train": evaluation[0], "test": evaluation[1]}),
    )
    fields: dict[str, Any] = {
        "status": "finished",
        "parameters": 86_700,
        "flops": 1_234_567,
        "provenance": {"device_name": "A Processor"},
        "epochs": epochs,
        **changes,
    }
    return Run(key=key, name=name, spec=tree, dataset=tree["data"]["dataset"], **fields)


def table(runs: Iterable[Run], **options: Any) -> tuple[str, list[list[str]]]:
    """Return what is above the table, and the cells of its rows with the titles first."""
    above, _, below = render(list(runs), format_="tsv", **options).partition("\n\n")
    return above, [[cell.strip() for cell in line.split("\t")] for line in below.splitlines()]


def column(runs: Iterable[Run], title: str, **options: Any) -> list[str]:
    _, (titles, *rows) = table(runs, **options)
    return [row[titles.index(title)] for row in rows]


def names(runs: Iterable[Run], **options: Any) -> list[str]:
    return column(runs, "spec", **options)


def test_a_row_has_all_figures_of_a_spec_over_its_seeds() -> None:
    runs = [run(seed=0), run(seed=1, confusion=WRONG), run(seed=2)]
    mean, half = mean_interval([0.85, 0.5, 0.85])
    above, (titles, row) = table(runs)
    assert dict(zip(titles, row, strict=True)) == {
        "spec": "a/default",
        "test recall": f"{mean:.4f} ± {half:.4f}",
        "train recall": f"{mean:.4f} ± {half:.4f}",
        "training": "2.50 s",
        "parameters": "86.7k",
        "FLOPs": "1.23M",
        "runs": "3",
    }
    assert above.splitlines() == [
        "digits, A Processor, fp32; 3 seeds (0 to 2), 2 epochs",
        "mean ± 95% interval over seeds; training: median; recall: macro, after the last epoch",
    ]


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=1), min_size=2, max_size=5))
def test_recall_is_the_mean_of_scikit_learns(predictions: list[list[tuple[int, int]]]) -> None:
    runs, expected = [], []
    for seed, pairs in enumerate(predictions):
        confusion = tuple(tuple(pairs.count((true, found)) for found in range(4)) for true in range(4))
        runs.append(run(seed=seed, confusion=confusion))
        true, found = zip(*pairs, strict=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes without labels, whose recall is 0 by definition
            expected.append(recall_score(true, found, average="macro", zero_division=0))
    (row,) = json.loads(render(runs, format_="json"))
    assert row["test_recalls"] == pytest.approx(expected, abs=1e-9)
    assert row["test_recall"] == pytest.approx(sum(expected) / len(expected), abs=1e-9)


def test_the_study_s_measure_is_the_mean_over_epochs_of_each_batch_s_recall() -> None:
    runs = [run(spec=spec(evaluation__measure="eq2425"))]
    above, _ = table(runs)
    assert column(runs, "test recall") == ["0.5000"]  # of 0.75 and 0.25
    assert above.endswith(
        "recall: mean over epochs of the mean over batches of each batch's macro recall, as in the EQ2425 study"
    )


def test_two_measures_in_one_table_are_told_apart() -> None:
    runs = [run("a"), run("b", spec=spec(evaluation__measure="eq2425"))]
    assert column(runs, "measure") == ["final", "eq2425"]
    above, _ = table(runs)
    assert "macro, after the last epoch (final); mean over epochs" in above
    assert "EQ2425 study (eq2425)" in above


def test_the_training_time_is_not_that_of_one_run_during_which_the_machine_slept() -> None:
    took = enumerate((2.0, 1079.0, 2.2))
    runs = [run(seed=seed, epochs=(EpochRecord(1, 0.5, seconds, 0.1, {}),)) for seed, seconds in took]
    assert column(runs, "training") == ["2.20 s"], "the mean of 2.0, 2.2 and 1,079 seconds is the time of no run"


def test_one_seed_has_no_interval() -> None:
    assert column([run()], "test recall") == ["0.8500"]


def test_reference_figures_have_columns_only_where_there_are_any() -> None:
    reference = {"source": "a report", "test_recall": 0.5713, "train_recall": 0.6635, "note": "one seed", **ABOUT}
    runs = [run("a", spec=spec(reference=reference)), run("b")]
    assert column(runs, "reference") == ["0.5713", ""]
    assert column(runs, "ref. train") == ["0.6635", ""]
    assert "reference" not in table([run("b")])[1][0]


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"epochs": 300, "dataset": "digits"}, "Reference figures are left out: they are of 300 epochs on digits."),
        ({"epochs": 2, "dataset": "cifar10"}, "Reference figures are left out: they are of 2 epochs on cifar10."),
        ({}, ""),
    ],
)
def test_reference_figures_stand_only_beside_what_they_refer_to(about: dict[str, Any], line: str) -> None:
    runs = [run("a", spec=spec(reference={"source": "a report", "test_recall": 0.5713, **about}))]
    text = render(runs)
    assert "0.5713" not in text
    assert (line or "Reference") in text if line else "Reference" not in text
    assert json.loads(render(runs, format_="json"))[0]["reference_test_recall"] is None


def test_reference_figures_know_their_data_set_by_each_of_its_names() -> None:
    reference = {"source": "a report", "test_recall": 0.5713, **ABOUT}
    moved = run("a", seed=1, spec=spec(reference=reference, data__dataset="folder:moved"))
    assert column([run("a", spec=spec(reference=reference)), moved], "reference") == ["0.5713"]


def test_diverged_and_failed_runs_are_counted_and_not_averaged() -> None:
    runs = [
        run(seed=0),
        run(seed=1, status="diverged", reason="diverged at epoch 2", confusion=WRONG),
        run(seed=2, status="failed", reason="RuntimeError: no", epochs=()),
    ]
    assert column(runs, "test recall") == ["0.8500"]
    assert column(runs, "runs") == ["1"]
    assert column(runs, "diverged") == ["1"]
    assert column(runs, "failed") == ["1"]


def test_a_spec_whose_runs_all_failed_has_a_row_without_figures() -> None:
    runs = [run(status="failed", reason="RuntimeError: no", epochs=(), parameters=0, flops=0)]
    assert table(runs)[1][1] == ["a/default", "", "", "", "", "", "0", "1"]
    assert json.loads(render(runs, format_="json"))[0]["test_recall"] is None


def test_epochs_have_a_column_where_they_differ() -> None:
    runs = [run("a"), run("b", spec=spec(training__epochs=5))]
    above, _ = table(runs)
    assert column(runs, "epochs") == ["2", "5"]
    assert "2 to 5 epochs" in above
    assert "1 seed (0), " in above


@pytest.mark.parametrize(
    "other",
    [
        {"spec": spec(data__dataset="mnist"), "digest": "those of mnist"},
        {"digest": "other images"},
        {"provenance": {"device_name": "A GPU"}},
    ],
    ids=["data set", "images", "device"],
)
def test_what_cannot_be_compared_is_never_averaged(other: dict[str, Any]) -> None:
    runs = [run(), run(seed=1, confusion=WRONG, **other)]
    rows = json.loads(render(runs, format_="json"))
    assert [row["test_recall"] for row in rows] == [pytest.approx(0.85), pytest.approx(0.5)]
    headings = [line for line in render(runs).splitlines() if "seed (" in line]
    assert len(set(headings)) == 2, f"two tables, whose headings differ: {headings}"


def test_one_data_set_under_two_spellings_of_its_name_is_one_row() -> None:
    trees = [spec(data__dataset=name) for name in ("folder:./d/", "folder:d")]
    runs = [run(seed=seed, spec=tree) for seed, tree in enumerate(trees)]
    (row,) = json.loads(render(runs, format_="json"))
    assert (row["dataset"], row["seeds"], row["spec"]) == ("folder:d", [0, 1], "a/default")
    others = [*runs, run(seed=2, spec=trees[1], source="edited")]
    first, _ = json.loads(render(others, format_="json"))
    assert first["spec"].startswith("a/default #"), "the spelling does not tell rows apart"


def test_precisions_are_never_averaged() -> None:
    other = attrs.evolve(run(seed=1), key=attrs.evolve(run(seed=1).key, precision="bf16"))
    assert [row["precision"] for row in json.loads(render([run(), other], format_="json"))] == ["fp32", "bf16"]


def test_the_heading_says_how_the_images_were_changed() -> None:
    resized = run(spec=spec(data__resize=32, data__validation=0.1), digest="other")
    assert "digits, resized to 32x32, 10% of training held out, A Processor, fp32" in render([resized])


def test_specs_of_one_name_are_named_by_what_differs() -> None:
    mish = [{"activation": {"name": "mish"}}] * 2
    runs = [
        run(identity="1"),
        run(identity="2", spec=spec(training__optimizer__learning_rate=0.02)),
        run(identity="3", spec=spec(network__features=mish)),
        run("b"),
    ]
    assert names(runs) == [
        "a/default (activation=relu, learning_rate=0.1)",
        "a/default (activation=relu, learning_rate=0.02)",
        "a/default (activation=mish, learning_rate=0.1)",
        "b",
    ]


def test_specs_that_differ_in_epochs_only_keep_their_name() -> None:
    runs = [run(identity="1"), run(identity="2", spec=spec(training__epochs=5))]
    assert names(runs) == ["a/default", "a/default"]
    assert column(runs, "epochs") == ["2", "5"]


def test_specs_of_one_name_that_differ_in_too_much_are_named_by_a_digest() -> None:
    features = [{f"option{i}": i for i in range(9)}]
    first, second = names([run(identity="1"), run(identity="2", spec=spec(network__features=features))])
    assert first.startswith("a/default #")
    assert second.startswith("a/default #")
    assert first != second


def test_a_changed_source_makes_another_row_and_the_old_one_is_marked() -> None:
    runs = [run(source="old"), run(source="new", confusion=WRONG)]
    text = render(runs, format_="tsv", is_stale=lambda run: run.key.source == "old")
    rows = [line for line in text.splitlines() if line.startswith("a/default #")]
    assert ["(stale)" in row for row in rows] == [True, False]
    assert text.endswith("stale: the source of its variants is no longer what it was; `zoo benchmark` trains it anew")
    stale = json.loads(render(runs, format_="json", is_stale=lambda run: run.key.source == "old"))
    assert [(row["stale"], row["source"]) for row in stale] == [(True, "old"), (False, "new")]


@pytest.mark.parametrize("sort", COLUMNS)
def test_rows_are_sorted_best_or_smallest_first(sort: str) -> None:
    worse = {"source": "a report", "test_recall": 0.5, "train_recall": 0.5, **ABOUT, "epochs": 5}
    better = {"source": "a report", "test_recall": 0.9, "train_recall": 0.9, **ABOUT}
    runs = [
        run("b", confusion=WRONG, spec=spec(training__epochs=5, reference=worse), parameters=2000, flops=2000),
        run("c", status="failed", epochs=(), parameters=0, flops=0, spec=spec(training__epochs=9)),
        run("a", spec=spec(reference=better), parameters=1000, flops=1000),
        run("a", seed=1, spec=spec(reference=better), parameters=1000, flops=1000),
    ]
    runs[0] = attrs.evolve(
        runs[0], epochs=(*runs[0].epochs, EpochRecord(3, 0.1, 9.0, 0.1, runs[0].epochs[-1].evaluations))
    )
    expected = {"measure": ["b", "c", "a"], "diverged": ["b", "c", "a"], "failed": ["c", "b", "a"]}
    expected |= {column: ["b", "c", "a"] for column in ("validation", "reference-time", "target")}  # none has it
    assert names(runs, sort=sort) == expected.get(sort, ["a", "b", "c"])


@pytest.mark.parametrize("format_", tabulate_formats)
def test_every_format_of_tabulate_holds_the_figures(format_: str) -> None:
    text = render([run("first"), run("second", confusion=WRONG)], format_=format_)
    for figure in ("first", "second", "0.8500", "0.5000", "86.7k"):
        assert figure in text


def test_latex_takes_the_heading_for_a_comment() -> None:
    above = render([run()], format_="latex").partition("\\begin")[0]
    assert all(line.startswith("% ") for line in above.split("\n") if line)


def test_csv_is_read_back() -> None:
    runs = [run(seed=0), run(seed=1, confusion=WRONG), run("b, c", status="failed", epochs=())]
    text = render(runs, format_="csv")
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["spec"], second["spec"]) == ("a/default", "b, c")
    assert float(first["test_recall"]) == pytest.approx(0.675)
    assert [float(recall) for recall in first["test_recalls"].split(" ")] == pytest.approx([0.85, 0.5])
    assert second["test_recall"] == "", "a figure that there is not is an empty cell, as an interval is"
    assert first["dataset"] == "digits"
    assert not text.endswith("\n")


def test_csv_and_json_have_the_same_fields() -> None:
    (row,) = json.loads(render([run()], format_="json"))
    assert render([run()], format_="csv").splitlines()[0].split(",") == list(row)


def test_json_of_no_runs_is_a_list() -> None:
    assert json.loads(render([], format_="json")) == []
    assert render([]) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format_": "gihtub"}, "no table format is called 'gihtub'; did you mean github?"),
        ({"sort": "recal"}, "no column is called 'recal'; did you mean recall?"),
    ],
)
def test_an_unknown_format_or_column_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZooError, match=message.replace("?", r"\?")):
        render([run()], **options)


LONG = "starter/default[activation=squared_relu, normalization=batch]"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    reference = {"source": "a report", "test_recall": 0.5, "train_recall": 0.5, **ABOUT}
    runs = [run(LONG, seed=seed, spec=spec(reference=reference)) for seed in (0, 1)]
    text = render(runs, width=width)
    longest = max(len(line) for line in text.splitlines())
    assert longest <= width, f"a line of {longest} characters:\n{text}"
    assert "test recall" in text
    assert "".join(text.split()).count("[activation=squared_relu,") == 1
    if width == 200:
        assert LONG in text
        assert "No room" not in text
    if width == 80:
        assert "No room for: ref. train, FLOPs, parameters" in text


def test_the_column_that_rows_are_sorted_by_stays() -> None:
    text = render([run(LONG)], width=60, sort="flops")
    assert "FLOPs  " in text
    assert "No room for: parameters" in text


def test_only_the_default_format_is_fitted() -> None:
    assert LONG in render([run(LONG)], width=40, format_="github")


def test_a_name_wider_than_the_terminal_stays_whole_piece_by_piece() -> None:
    assert folded("a/bcd[e=fgh, i=j]", 5) == "a/bcd\n[e=fgh,\ni=j]"
    assert folded("short", 80) == "short"


@given(st.text(alphabet="ab/[, "), st.integers(1, 30))
def test_folding_loses_nothing_but_space(text: str, width: int) -> None:
    lines = folded(text, width).split("\n")
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("seconds", "exact", "rough"),
    [
        (0.004, "0.00 s", "1 s"),
        (0.84, "0.84 s", "1 s"),
        (12.34, "12.3 s", "12 s"),
        (59.96, "1 min 0 s", "1 min"),
        (190, "3 min 10 s", "3 min"),
        (3599.7, "1 h 0 min", "1 h 0 min"),
        (7500, "2 h 5 min", "2 h 5 min"),
        (48 * 3600, "48 h 0 min", "48 h 0 min"),
        (76 * 3600, "3 d 4 h", "3 d 4 h"),
    ],
)
def test_durations_are_written_for_people(seconds: float, exact: str, rough: str) -> None:
    assert duration(seconds) == exact
    assert rough_duration(seconds) == rough


@given(st.floats(0.5, 1e6))
def test_a_rough_duration_is_about_right(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = rough_duration(seconds).split()
    read = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert read == pytest.approx(seconds, rel=0.5, abs=0.51)


def test_no_duration_is_written_as_nothing() -> None:
    assert duration(math.nan) == ""


@given(st.integers(0, 10**16))
def test_a_quantity_is_right_to_three_digits(number: int) -> None:
    text = quantity(number)
    unit = text[-1] if text[-1].isalpha() else ""
    read = float(text.removesuffix(unit)) * 1000 ** ("", "k", "M", "G", "T", "P").index(unit)
    assert read == pytest.approx(number, rel=0.0051)
    assert len(text) <= 5


def test_a_recall_is_written_with_its_interval() -> None:
    assert with_interval(0.95301, 0.0041) == "0.9530 ± 0.0041"
    assert with_interval(None, None) == ""
    assert with_interval(math.nan, None) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (155_648, "156 kB"), (1_270_000, "1.27 MB")],
)
def test_a_size(count: int, text: str) -> None:
    assert byte_size(count) == text


def about(**changes: str) -> dict[str, str]:
    return {"device_name": "A Processor", "torch": "2.9", "zoo": "0.1", "engine": "sequential", **changes}


def test_seeds_of_several_versions_in_one_mean_are_said() -> None:
    runs = [run(provenance=about()), run(seed=1, provenance=about(torch="2.10"))]
    assert "a/default: one mean over seeds of several versions: torch 2.9 and 2.10." in render(runs)
    assert json.loads(render(runs, format_="json"))[0]["versions"] == "torch 2.9 and 2.10"
    assert "several versions" not in render(runs[:1])


def test_times_of_unlike_runs_in_one_column_are_said() -> None:
    runs = [run(provenance=about()), run("b", provenance=about(engine="captured", runs_at_once="4"))]
    said = (
        "Training times are of runs that differ, and not to be compared: engine sequential and captured; runs at once 1"
    )
    assert f"{said} and 4." in render(runs)
    alike = [run(provenance=about()), run("b", provenance=about())]
    assert "not to be compared" not in render(alike)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.0, "1 s"),
        (8, 20, "8 to 20 s"),
        (40, 100, "40 s to 2 min"),
        (180, 180, "3 min"),
        (600, 1500, "10 to 25 min"),
        (3000, 7500, "50 min to 2 h"),
        (2.8 * 3600, 6.7 * 3600, "3 to 7 h"),
        (20 * 3600, 47 * 3600, "20 to 47 h"),
        (20 * 3600, 50 * 3600, "20 h 0 min to 2 d"),
        (3 * 86400, 7.5 * 86400, "3 to 8 d"),
    ],
)
def test_a_range_of_durations(low: float, high: float, text: str) -> None:
    assert rough_range(low, high) == text


def test_lines_end_at_spaces_only() -> None:
    text = "give --from-ledger, or /a/very/long/path-with-hyphens/that-is-wider-than-the-line.txt"
    lines = layout.wrapped(f"  {text}", 30).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert lines[0] == "  give --from-ledger, or"
    assert lines[1].startswith("    /a/very"), "what is continued stands further in"


def test_classes_of_very_different_sizes_are_told_below_the_table() -> None:
    told = (
        "classes have from 2 to 10 test images, and recall is macro: each counts the same; `zoo data show` lists them"
    )
    assert told in render([run(confusion=((10, 0), (1, 1)))])
    assert "test images" not in render([run(confusion=((9, 0), (1, 1)))])
    assert "test images" not in render([run(confusion=((10, 0), (1, 1)))], format_="csv")
