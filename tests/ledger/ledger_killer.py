"""Kills processes at random moments while they work on ledgers: `ledger_killer.py WHAT FOLDER KILLS SEED`.

WHAT is "claims", "merge" or "upgrade". Prints as JSON how many were killed, and what was lost or done twice. Processes
are forked from one that has imported all that it takes, so that a kill costs milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs

from zoo.errors import ClaimLostError
from zoo.ledger import Ledger
from zoo.ledger.merge import merge
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

RUNS = 40
EPOCHS = 2
PROCESSES = 2
OLD = Path(__file__).parents[1] / "v0_1_0" / "ledger.sqlite"


def planned(seed: int) -> Run:
    return Run(RunKey("spec", seed, "data", "source", "fp32"), "net", {"epochs": EPOCHS}, "digits")


def epoch(seed: int, number: int) -> EpochRecord:
    return EpochRecord(number, 1 / (seed + number), 0.1, 0.01, {"test": Evaluation(((seed, 1), (number, 0)))})


def ended(seed: int) -> Run:
    epochs = tuple(epoch(seed, number) for number in range(1, EPOCHS + 1))
    return attrs.evolve(planned(seed), status="finished", parameters=seed, epochs=epochs)


def fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def kill(child: int) -> bool:
    """Kill a process, and tell whether it was still at work."""
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def train(path: Path, log: Path, pause: float) -> None:
    """Train what nobody else trains, until all has ended; write down each run that was finished."""
    with Ledger(path) as ledger:
        while True:
            for seed in range(RUNS):
                attempt = ledger.claim(planned(seed))
                if attempt is None:
                    continue
                try:
                    for number in range(1, EPOCHS + 1):
                        time.sleep(pause)
                        ledger.add_epoch(attempt, epoch(seed, number))
                    ledger.finish(attempt, ended(seed))
                except ClaimLostError:
                    note(log, f"lost {seed}")
                else:
                    note(log, f"trained {seed}")
            if len(ledger.ended(planned(seed).key for seed in range(RUNS))) == RUNS:
                return


def note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


def check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def by_seed(path: Path) -> list[Run]:
    with Ledger(path, create=False) as ledger:
        return sorted(ledger.runs(), key=lambda run: run.key.seed)


def claims(folder: Path, kills: int, moments: random.Random) -> dict[str, int]:
    """Let several train what is missing, and kill one after the other, each time until all has ended."""
    killed = doubled = lost = rounds = 0
    expected = [ended(seed) for seed in range(RUNS)]
    while killed < kills:
        rounds += 1
        path, log = folder / f"{rounds}.sqlite", folder / f"{rounds}.log"
        log.touch()
        children = [fork(partial(train, path, log, 0.001)) for _ in range(PROCESSES)]
        while killed < kills:
            time.sleep(moments.uniform(0, 0.03))
            victim = children.pop(moments.randrange(PROCESSES))
            was_at_work = kill(victim)
            killed += was_at_work
            children.append(fork(partial(train, path, log, 0.001)))
            if not was_at_work:
                break
        for child in children:
            assert os.waitpid(child, 0)[1] == 0, "a process failed"
        check(path)
        lines = log.read_text().split("\n")[:-1]
        doubled += sum(count - 1 for count in Counter(lines).values())
        assert not [line for line in lines if line.startswith("lost")], "a claim of the living was taken over"
        stored = by_seed(path)
        lost += RUNS - len(stored)
        assert stored == expected, "the runs differ from those of an undisturbed process"
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM run").fetchone() == (RUNS,), "an attempt is left"
    return {"killed": killed, "rounds": rounds, "lost": lost, "doubled": doubled}


def shards(folder: Path) -> list[Path]:
    """Make three ledgers whose runs overlap."""
    paths = [folder / f"shard-{index}.sqlite" for index in range(3)]
    for index, path in enumerate(paths):
        with Ledger(path) as ledger:
            for seed in range(index * 10, index * 10 + 20):
                attempt = ledger.claim(planned(seed))
                assert attempt is not None
                for record in ended(seed).epochs:
                    ledger.add_epoch(attempt, record)
                ledger.finish(attempt, ended(seed))
    return paths


def merges(folder: Path, kills: int, moments: random.Random) -> dict[str, int]:
    """Kill a process that merges; then merge to the end."""
    paths = shards(folder)
    expected = [ended(seed) for seed in range(RUNS)]
    start = time.perf_counter()
    merge(folder / "undisturbed.sqlite", paths)
    longest = time.perf_counter() - start
    killed = lost = doubled = tries = partly = nothing = 0
    while killed < kills:
        tries += 1
        into = folder / f"{tries}.sqlite"
        child = fork(partial(merge, into, paths))
        time.sleep(moments.uniform(0, 2 * longest))
        killed += kill(child)
        if into.exists():
            with Ledger(into) as ledger:
                stored = ledger.runs()
                partly += len(stored) not in (0, RUNS)
                nothing += not stored
        merge(into, paths)
        merge(into, [*paths, into])
        check(into)
        stored = by_seed(into)
        doubled += len(stored) - len({run.key for run in stored})
        lost += RUNS - len({run.key for run in stored})
        assert stored == expected
    return {"killed": killed, "tries": tries, "lost": lost, "doubled": doubled, "partly": partly, "nothing": nothing}


def upgrades(folder: Path, kills: int, moments: random.Random) -> dict[str, int]:
    """Kill a process that opens a ledger of version 1 to write to it."""
    with Ledger(Path(shutil.copy(OLD, folder / "undisturbed.sqlite")), create=False) as ledger:
        expected = ledger.runs()
    start = time.perf_counter()
    Ledger(folder / "undisturbed.sqlite").close()
    longest = time.perf_counter() - start
    killed = lost = tries = old = 0
    while killed < kills:
        tries += 1
        path = Path(shutil.copy(OLD, folder / f"{tries}.sqlite"))
        child = fork(partial(Ledger, path))
        time.sleep(moments.uniform(0, 2 * longest))
        killed += kill(child)
        with Ledger(path, create=False) as ledger:
            old += ledger.file.version == 1
            lost += ledger.runs() != expected
        with Ledger(path) as ledger:
            lost += ledger.runs() != expected
        check(path)
    return {"killed": killed, "tries": tries, "lost": lost, "still old": old}


def main() -> None:
    what, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    work = {"claims": claims, "merge": merges, "upgrade": upgrades}[what]
    print(json.dumps(work(folder, kills, random.Random(seed))))


if __name__ == "__main__":
    main()
