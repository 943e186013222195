"""`zoo report`: a page of stored runs, written once or again and again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import Result
from test_cli_results import store, stored

from zoo.ledger import Ledger

Zoo = Callable[..., Result]


def test_the_page_shows_what_is_stored(zoo: Zoo, ledger: Path) -> None:
    run = stored(ledger)[0]
    store(
        ledger,
        attrs.evolve(run, key=attrs.evolve(run.key, seed=77), status="failed", reason="no <room> left", epochs=()),
    )
    result = zoo("report", "-o", "runs.html")
    assert result.exit_code == 0
    assert result.stderr == "Written to runs.html.\n"
    text = (ledger.parent / "runs.html").read_text()
    assert "<title>All runs</title>" in text
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert headings == [
        "Learning curves",
        "Recall by class",
        "Recall against cost",
        "Confusion",
        "All that was trained",
        "Runs that diverged or failed",
        "Methods, for a paper",
        "Provenance",
        "To repeat it",
    ]
    assert "5 runs of 2 specs: 1 failed." in text
    assert "no &lt;room&gt; left" in text
    assert "zoo report --output runs.html" in text
    assert "We trained 2 networks on digits, for 1 epoch with 3 seeds (0, 1, 77)" in text
    assert 'http-equiv="refresh"' not in text


def test_each_spec_is_judged_against_one(zoo: Zoo, ledger: Path) -> None:
    assert zoo("report", "starter/4c", "--against", "starter/default", "-o", "runs.html").exit_code == 0
    text = (ledger.parent / "runs.html").read_text()
    assert "Each against starter/default" in text
    assert "Differences are paired by seed" in text


def test_lost_runs_are_judged_beside_recall(zoo: Zoo, ledger: Path) -> None:
    """Without them a verdict on the few runs that are left would be the whole truth of a page."""
    run, other = (next(run for run in stored(ledger) if run.name == name) for name in ("starter/4c", "starter/default"))
    lost = (attrs.evolve(run, key=attrs.evolve(run.key, seed=seed), status="diverged") for seed in range(50, 60))
    kept = (attrs.evolve(other, key=attrs.evolve(other.key, seed=seed)) for seed in range(50, 60))
    for each in (*lost, *kept):
        store(ledger, each)
    assert zoo("report", "starter/4c", "--against", "starter/default", "-o", "runs.html").exit_code == 0
    text = (ledger.parent / "runs.html").read_text()
    assert re.search(r"<td[^>]*>undecided, loses more runs</td>", text)
    assert re.search(r"<td[^>]*>10 of 1\d, 0 of 1\d \(p (&lt;)?0\.0\d+\)</td>", text)


def test_plots_are_files(zoo: Zoo, ledger: Path) -> None:
    result = zoo("report", "--plots", "figures")
    assert result.exit_code == 0
    files = sorted(path.name for path in (ledger.parent / "figures").iterdir())
    assert {Path(name).suffix for name in files} == {".svg", ".png", ".pdf"}
    assert {"learning-curves.svg", "confusion-starter-4c.png"} <= set(files)
    assert result.stderr == f"{len(files)} files written to figures.\n"
    first = {path.name: path.read_bytes() for path in (ledger.parent / "figures").iterdir()}
    zoo("report", "--plots", "figures")
    assert {path.name: path.read_bytes() for path in (ledger.parent / "figures").iterdir()} == first


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "state where to write to: --output FILE.html, --plots FOLDER, or both"),
        (["--watch", "--plots", "f"], 2, "--watch writes the page again: state --output FILE.html"),
        (["-o", "runs.pdf"], 2, "--output runs.pdf: the page is HTML, so the file's name ends in .html"),
        (["-o", "none/runs.html"], 2, "--output none/runs.html: there is no folder none"),
        (["nothing", "-o", "runs.html"], 1, "there is no run of 'nothing' in zoo.sqlite"),
        (["--against", "starter/4d", "-o", "runs.html"], 2, "there is no run of 'starter/4d'"),
    ],
)
def test_what_cannot_be_written(zoo: Zoo, ledger: Path, arguments: list[str], code: int, message: str) -> None:
    result = zoo("report", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not (ledger.parent / "runs.html").exists()


def test_ctrl_c_before_the_first_page_is_one_line(ledger: Path) -> None:
    page = ledger.parent / "early.html"
    command = [str(Path(sys.executable).with_name("zoo")), "report", "-o", str(page), "--watch", "1"]
    process = subprocess.Popen(
        [*command, "--ledger", str(ledger)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Writing ")
    time.sleep(0.3)  # amid the import of torch
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "Stopped.")
    assert not page.exists()


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
def test_a_page_is_watched_every_so_many_seconds(zoo: Zoo, ledger: Path, seconds: str) -> None:
    result = zoo("report", "-o", "r.html", f"--watch={seconds}")
    assert result.exit_code == 2
    assert f"Invalid value for '--watch': {seconds}" in result.stderr


def test_a_watched_page_follows_until_ctrl_c(zoo: Zoo, ledger: Path) -> None:
    page = ledger.parent / "runs.html"
    command = [str(Path(sys.executable).with_name("zoo")), "report", "-o", str(page), "--watch", "1"]
    process = subprocess.Popen([*command, "--ledger", str(ledger)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not page.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert '<meta http-equiv="refresh" content="1">' in page.read_text()
    run = stored(ledger)[0]
    with Ledger(ledger) as opened:
        attempt = opened.claim(attrs.evolve(run, key=attrs.evolve(run.key, seed=78)))
        assert attempt is not None
        opened.add_epoch(attempt, run.epochs[0])
        while "Runs under way or cut short" not in page.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "1 under way" in page.read_text()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.endswith(f"Written to {page}.\n")
    assert said.count("No run is under way: this waits until one begins, or Ctrl-C.\n") == 1, (
        "whoever watches before training begins is not told why nothing ends"
    )
    assert 'http-equiv="refresh"' not in page.read_text()
