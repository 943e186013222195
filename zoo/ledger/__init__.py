"""The store of runs."""

from zoo.ledger.store import APPLICATION_ID, VARIABLE, VERSION, Ledger, default_path

__all__ = ["APPLICATION_ID", "VARIABLE", "VERSION", "Ledger", "default_path"]
