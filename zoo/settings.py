"""What a project's file and the environment say where a command, or a call of Python, says nothing itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs

from zoo.errors import ZooError, near_misses, option
from zoo.spec.length import read_epochs
from zoo.spec.reading import parse_toml

FILE = "zoo.toml"
PYPROJECT = "pyproject.toml"
TABLE = "tool.zoo"
VARIABLE = "ZOO_PROJECT"
DEFAULT = "default"
"""Where a value comes from that nobody has stated."""

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16", "half")
DATA_IN = ("auto", "device", "memory")
DATA_IN_HERE = "_ZOO_DATA_IN"
"""The environment variable by which a process, and those that it starts, know which of them holds."""
ENGINES = ("auto", "sequential", "captured", "compiled")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_OF_SPECS = ("base", "set", "network", "training", "evaluation", "changes", "design")
"""Keys of specs and of studies: a file with one of them is no project file."""

Project = Literal["auto"] | str | Path | None


class _WrongError(Exception):
    """A value is not what a key takes; says what that is."""


@attrs.frozen
class Key:
    """A key of the project file.

    Attributes:
        name: as it stands there.
        default: what holds where nobody says anything.
        read: a value of the file, given the folder that its paths are relative to.
        meaning: for people.
        otherwise: what holds where the default is none, for people.
        several: what parts its text in the environment, of a list.
    """

    name: str
    default: Any
    read: Callable[[Any, Path], Any]
    meaning: str
    otherwise: str = ""
    several: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that says the same."""
        return f"ZOO_{self.name.upper()}"


def _text(value: Any, folder: Path) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError("a text")
    return value


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise _WrongError("the path of a file")
    return folder / value


def _paths(value: Any, folder: Path) -> tuple[Path, ...]:
    return tuple(folder / text for text in _texts(value, "paths of files"))


def _names(value: Any, folder: Path) -> tuple[str, ...]:
    return tuple(_texts(value, "names of plugins"))


def _texts(value: Any, what: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise _WrongError(f"a list of {what}")
    return texts


def _dataset(value: Any, folder: Path) -> str:
    """Return the name of a data set, the path after its colon as the folder of the file has it."""
    if not isinstance(value, str) or not value:
        raise _WrongError("the name of a data set, such as 'digits' or 'folder:images'")
    name, colon, path = value.partition(":")
    return f"{name}:{folder / path}" if colon and path else value


def _count(value: Any, folder: Path) -> int:
    if isinstance(value, str) and value.isdecimal():  # of the environment
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _WrongError("a whole number from 1")
    return value


def _epochs(value: Any, folder: Path) -> float:
    number = read_epochs(value)
    if number is None:
        raise _WrongError("a number above 0, such as 20 or 9.9")
    return number


def _flag(value: Any, folder: Path) -> bool:
    if isinstance(value, str) and value.lower() in (*_YES, *_NO):
        return value.lower() in _YES
    if not isinstance(value, bool):
        raise _WrongError("true or false")
    return value


def _one_of(known: tuple[str, ...]) -> Callable[[Any, Path], str]:
    def read(value: Any, folder: Path) -> str:
        if value not in known:
            raise _WrongError(f"one of {', '.join(known)}")
        return str(value)

    return read


def _executor(value: Any, folder: Path) -> str | dict[str, Any]:
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return dict(value)
    if not isinstance(value, str) or not value:
        raise _WrongError("the name of an executor, or a table with its name and options")
    return value


KEYS = (
    Key("plugins", (), _paths, "single-file plugins to load", several=os.pathsep),
    Key("block", (), _names, "plugins to leave out", several=","),
    Key("ledger", Path("zoo.sqlite"), _path, "the file that runs are stored in"),
    Key("data", None, _dataset, "train, time and show specs on this data set", "each spec's own"),
    Key("epochs", None, _epochs, "train this many epochs", "each spec's own"),
    Key("seeds", None, _count, "how many seeds a benchmark or a study has", "3, or a study's own"),
    Key("device", "auto", _text, "on which device"),
    Key("precision", "auto", _one_of(PRECISIONS), "of runs"),
    Key("fast", False, _flag, "let cuDNN take any kernels"),
    Key("engine", "auto", _one_of(ENGINES), "how steps are made"),
    Key("data_in", "auto", _one_of(DATA_IN), "where images are while networks are trained on them"),
    Key("executor", None, _executor, "where runs are trained", "what suits their number"),
    Key("jobs", None, _count, "how many runs at once", "as many as pay"),
    Key("keep_state", False, _flag, "keep the final state of runs"),
)
_BY_NAME = {key.name: key for key in KEYS}
_MEANS = {"epochs": "training.epochs", "data": "data.dataset"}
"""The values of a spec that a key is the default of."""
_INSTEAD = {"training.epochs": "training.steps"}
"""The values that stand in place of those."""


@attrs.frozen
class Settings:
    """What holds where nothing else is said.

    Attributes:
        file: the project file; None where there is none.
        values: of every key.
        origins: of every key, where its value comes from: the file, an environment variable, or "default".
        notes: what there is to be said of how the file was found.
    """

    file: Path | None
    values: Mapping[str, Any]
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def plugins(self) -> tuple[Path, ...]:
        """Return the single-file plugins to load.

        Raises:
            ZooError: one is not there.
        """
        found: tuple[Path, ...] = self["plugins"]
        for file in found:
            if not file.is_file():
                raise ZooError(f"{self.where('plugins')}: there is no file {file}")
        return found

    def where(self, name: str) -> str:
        """Return where a key is stated, as an error begins."""
        origin = self.origins[name]
        return origin if origin.startswith("$") else f"{origin}: {name}"

    @contextmanager
    def blamed(self, **given: object) -> Iterator[None]:
        """Let an error say where the values stand that it names, unless all of them were given otherwise.

        Args:
            given: by key, what was said instead; None for nothing.
        """
        try:
            yield
        except ZooError as error:
            text = str(error)
            stated = [
                self.where(name)
                for name, one in given.items()
                if one is None
                and not self.is_default(name)
                and (option(name) in text or self[name] in re.split(r"[\s;,.]+", text))
            ]
            if not stated:
                raise
            raise type(error)(f"{', '.join(stated)}: {error}") from error

    def is_default(self, name: str) -> bool:
        """Whether nobody has said anything of a key."""
        return self.origins[name] == DEFAULT

    def sets(self, stated: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
        """Return values of a spec by path: those that are stated, and the defaults of what is not.

        Args:
            stated: by path.
            others: further paths of which something is said.
        """
        said = (*stated, *others)

        def is_said(path: str) -> bool:
            return any(path == one or path.endswith(f".{one}") for one in said)

        defaults = {
            path: self[name]
            for name, path in _MEANS.items()
            if self[name] is not None and not is_said(path) and not is_said(_INSTEAD.get(path, path))
        }
        return {**defaults, **stated}


def read(project: Project | Settings = "auto") -> Settings:
    """Return what the project file and the environment say; the environment goes before the file.

    Args:
        project: the file; "auto" is that which ZOO_PROJECT names, or the nearest of the working folder and its parents;
            None is none.

    Raises:
        ZooError: the file cannot be read, or what it or the environment says is not valid.
    """
    if isinstance(project, Settings):
        return project
    file, notes = _file(project)
    stated, folder = _read_file(file) if file is not None else ({}, Path())
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key in KEYS:
        if text := os.environ.get(key.variable, ""):
            value = [one.strip() for one in text.split(key.several) if one.strip()] if key.several else text
            values[key.name], origins[key.name] = _read(key, value, Path(), f"${key.variable}"), f"${key.variable}"
        elif key.name in stated:
            values[key.name] = _read(key, stated[key.name], folder, f"{file}: {key.name}")
            origins[key.name] = str(file)
        else:
            values[key.name], origins[key.name] = key.default, DEFAULT
    return Settings(file, values, origins, notes)


def _read(key: Key, value: Any, folder: Path, where: str) -> Any:
    try:
        return key.read(value, folder)
    except _WrongError as error:
        raise ZooError(f"{where}: expected {error}, got {value!r}") from None


def _file(project: Project) -> tuple[Path | None, tuple[str, ...]]:
    """Return the project file, and what there is to be said of how it was found.

    Raises:
        ZooError: the one that is named is not there.
    """
    if project is None:
        return None, ()
    named = project
    if named == "auto":
        if VARIABLE not in os.environ:
            return _nearest()
        if not os.environ[VARIABLE]:
            return None, ()
        named = os.environ[VARIABLE]
    if not os.path.isfile(named):
        raise ZooError(f"there is no project file {named}")
    return Path(named), ()


def _nearest() -> tuple[Path | None, tuple[str, ...]]:
    """Find the nearest project file of the working folder and its parents.

    One of a parent is left out where it is somebody else's: in a folder that all may write to, such as /tmp, anybody
    could have plugins loaded.
    """
    try:
        here = Path.cwd()
    except OSError:  # the folder was removed
        return None, ()
    notes = []
    for folder in (here, *here.parents):
        for name in (FILE, PYPROJECT):
            # Of the working folder relative to it, so that data sets and ledgers have the names that people give them.
            path = Path(name) if folder == here else folder / name
            if not os.path.isfile(path) or (name == PYPROJECT and not _has_table(path)):
                continue
            if folder != here and not _is_trusted(path, here):
                notes.append(f"{path} is left out, as it is another user's; `zoo --project {path}` takes it")
                continue
            return path, tuple(notes)
    return None, tuple(notes)


def _is_trusted(path: Path, here: Path) -> bool:
    if not hasattr(os, "geteuid"):  # Windows
        return True
    return path.stat().st_uid in (0, os.geteuid(), here.stat().st_uid)


def _has_table(path: Path) -> bool:
    """Whether a pyproject.toml has a table for zoo; one that cannot be read is only of interest where it names zoo."""
    try:
        if b"zoo" not in path.read_bytes():
            return False
    except OSError:
        return False
    tool = _tree(path).get("tool")
    return isinstance(tool, dict) and "zoo" in tool


def _tree(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ZooError(f"cannot read the project file {path}: {reason}") from error
    except ValueError as error:
        raise ZooError(f"{path} is not valid TOML: {error}") from error


def _read_file(path: Path) -> tuple[Mapping[str, Any], Path]:
    """Return what a project file states, and the folder that its paths are relative to.

    Raises:
        ZooError: it cannot be read, or has a key that it does not take.
    """
    tree = _tree(path)
    if path.name == PYPROJECT:
        tool = tree.get("tool", {})
        tree = tool.get("zoo", {}) if isinstance(tool, dict) else {}
    if not isinstance(tree, dict):
        raise ZooError(f"{path}: {TABLE}: expected a table, got {tree!r}")
    for name in tree:
        if name not in _BY_NAME:
            raise ZooError(_unknown(path, name))
    return tree, path.parent


def _unknown(path: Path, name: str) -> str:
    known = ", ".join(_BY_NAME)
    if path.name == FILE and name in _OF_SPECS:
        return (
            f"{path}: it has {name!r}, as specs and studies have, and {FILE} is the name of the project file, which "
            f"takes {known}: give the spec another name"
        )
    return f"{path}: unknown key {name!r}{near_misses(name, _BY_NAME)} It takes {known}."
