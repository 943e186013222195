"""Carries out the same made-up runs at every call, but those that have ended: `ledger_writer.py FILE [PAUSE]`.

Prints "ATTEMPT EPOCH" after each epoch that is stored. The tests run two at once and kill it.
"""

import sys
import time
from pathlib import Path

import attrs

from zoo.ledger import Ledger
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

RUNS = 40
EPOCHS = 4


def epoch(seed: int, number: int) -> EpochRecord:
    """Make up an epoch."""
    return EpochRecord(number, 1 / (seed + number), 0.1 * number, 0.01, {"test": Evaluation(((seed, 1), (number, 0)))})


def main(path: Path, pause: float) -> None:
    """Carry out what is missing."""
    with Ledger(path) as ledger:
        for seed in range(RUNS):
            run = Run(RunKey("spec", seed, "data", "source", "fp32"), "net", {"epochs": EPOCHS}, "digits")
            attempt = ledger.claim(run)
            if attempt is None:
                continue
            for number in range(1, EPOCHS + 1):
                time.sleep(pause)
                ledger.add_epoch(attempt, epoch(seed, number))
                print(attempt, number, flush=True)
            ledger.finish(attempt, attrs.evolve(run, status="finished", parameters=seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 0.0)
