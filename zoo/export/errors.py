"""What can go wrong while a network is exported, beside bad input."""

from __future__ import annotations

from zoo.errors import WORK_FAILED, ZooError


class ExportError(ZooError):
    """A run that does not come out as the ledger says, a layer that a format does not have, a file not written."""

    exit_code = WORK_FAILED
