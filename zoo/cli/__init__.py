"""The command line. Exit codes: 0 fine, 1 a run or the ledger failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

from zoo.cli.main import main

__all__ = ["main"]
