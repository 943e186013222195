"""Files that commands write: checked before any work, and written so that a reader sees the old or the new."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from zoo.errors import ZooError


def require_place(output: Path) -> None:
    """See that a file can stand at `--output`, before hours are spent on what it should hold.

    Raises:
        ZooError: there is no such folder, or no file can have that name.
    """
    if not output.absolute().parent.is_dir():
        raise ZooError(f"--output {output}: there is no folder {output.parent}")
    try:
        output.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, say
        raise ZooError(f"--output {output}: {error.strerror}; name another file") from error


def write_output(output: Path, content: bytes) -> None:
    """Write the file of `--output` in one step; what is no file, such as /dev/stdout, is written to as it is.

    Raises:
        ZooError: it cannot be written; what stood there stays.
    """
    new = output.with_name(f"{output.name}.{os.getpid()}.new")
    try:
        if output.exists() and not output.is_file():
            output.write_bytes(content)
            return
        new.write_bytes(content)
        os.replace(new, output.resolve())  # a link stays one
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise ZooError(f"--output {output}: {error.strerror}; name another file") from error
