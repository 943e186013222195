"""What was typed to start this process."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command() -> str:
    """Return what a person typed: "zoo benchmark", "python -m zoo benchmark", "script.py 3"; "notebook" in one."""
    if _in_notebook():
        return "notebook"
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    if module is not None:
        words = ["python", "-m", module.name.removesuffix(".__main__")]
    else:
        words = {"": ["python"], "-c": ["python", "-c"]}.get(sys.argv[0], [Path(sys.argv[0]).name])
    # What is no UTF-8 in an argument is no text that can be stored.
    return shlex.join([*words, *sys.argv[1:]]).encode(errors="replace").decode()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
