"""Where an export is written: one file with the network, and a model card beside it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import attrs

from zoo.errors import ZooError, option
from zoo.export.errors import ExportError
from zoo.export.formats import FORMATS


@attrs.frozen
class Destination:
    """The files of an export."""

    network: Path
    card: Path

    def write(self, network: bytes, card: str) -> None:
        """Write both, or, where one cannot be written, neither.

        Raises:
            ExportError: the folder cannot be written, or the disk is full.
        """
        contents = {self.network: network, self.card: card.encode()}
        new = {file: file.with_name(f"{file.name}.{os.getpid()}.new") for file in contents}
        try:
            self.network.parent.mkdir(exist_ok=True)
            for file, content in contents.items():
                new[file].write_bytes(content)
            for file in contents:
                os.replace(new[file], file)
        except OSError as error:
            raise ExportError(
                f"{error.filename or self.network} cannot be written: {error.strerror}. Make room, or name another "
                f"place with {option('output')}"
            ) from error
        finally:
            for file in new.values():
                with suppress(OSError):
                    file.unlink()


def destination(output: Path, ending: str) -> Destination:
    """Return the files for `--output`: the file itself where it has the format's ending, else in that folder.

    Checked before any work.

    Raises:
        ZooError: its ending is of no format, or of another; the file is there already; or there is no folder that
            could hold it.
    """
    stated = option("output", str(output))
    # What looks like a file of another kind is none; a folder may be called net-v1.2.
    if output.suffix != ending and re.fullmatch(r"\.[A-Za-z]\w*", output.suffix) and not output.is_dir():
        raise ZooError(
            f"{stated}: no network is written to a file that ends so; this format's ends in {ending} "
            f"(known: {', '.join(kind.ending for kind in FORMATS.values())}). For a folder of that name, make it first"
        )
    if output.suffix == ending:
        files = Destination(output, output.with_name(f"{output.name}.md"))
    else:
        files = Destination(output / f"model{ending}", output / "README.md")
    for file in (files.network, files.card):
        if os.path.lexists(file):
            raise ZooError(f"{stated}: there is a {file} already; name another place, or remove it")
    folder = files.network.parent
    parent = folder if folder.exists() else folder.absolute().parent
    if not parent.is_dir():
        raise ZooError(f"{stated}: there is no folder {parent}; make it first")
    if not os.access(parent, os.W_OK):
        raise ZooError(f"{stated}: the folder {parent} cannot be written; name another place")
    return files
