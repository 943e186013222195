"""The store of runs."""

from zoo.errors import ClaimLostError
from zoo.ledger.file import VARIABLE, default_path
from zoo.ledger.mounts import on_network_file_system
from zoo.ledger.owners import Owner
from zoo.ledger.schema import APPLICATION_ID, VERSION
from zoo.ledger.store import Ledger

__all__ = [
    "APPLICATION_ID",
    "VARIABLE",
    "VERSION",
    "ClaimLostError",
    "Ledger",
    "Owner",
    "default_path",
    "on_network_file_system",
]
