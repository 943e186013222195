"""Data sets of Hugging Face's hub: their Parquet files are downloaded, and read as `parquet:` reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs

from zoo.data import Arrays, data_dir, files_fingerprint
from zoo.errors import DataError, described
from zoo_plugins._dataset_parquet import Parquet

_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
_CONVERTED = "refs/convert/parquet"
"""The branch where the hub has Parquet files of the data sets that were published in another form."""
_COMPLETE = ".complete"


@attrs.frozen
class HuggingFace:
    """The Parquet files of a data set of the hub, OWNER/NAME, or of one of its configurations, OWNER/NAME/CONFIG.

    A configuration is a folder of the data set. What the files must be like says `Parquet`.
    """

    name: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"hf:{self.name}"

    @property
    def _folder(self) -> Path:
        return data_dir() / "hf" / "--".join(self.name.split("/"))

    @property
    def _files(self) -> Parquet:
        return Parquet(str(self._folder))

    def missing(self) -> str | None:
        """Say that it is not downloaded."""
        if not _NAME.fullmatch(self.name) or ".." in self.name:
            return f"{self.name} is not of the form OWNER/NAME or OWNER/NAME/CONFIG"
        if (self._folder / _COMPLETE).exists():
            return self._files.missing()
        return f"it is not downloaded; `zoo data get {self.title}` does that, into {self._folder}"

    def get(self, report: Callable[[int, int], None]) -> None:
        """Download the Parquet files.

        Raises:
            DataError: the package huggingface_hub is not installed, or they cannot be downloaded.
        """
        if (self._folder / _COMPLETE).exists():
            return
        if not _NAME.fullmatch(self.name) or ".." in self.name:
            raise DataError(f"{self.title}: {self.missing()}")
        try:
            from huggingface_hub import HfApi, hf_hub_download
        except ImportError as error:
            raise DataError(
                f"{self.title}: the package huggingface_hub is not installed: give `pip install 'layer-zoo[hf]'`, or "
                "download the Parquet files yourself and read them with parquet:PATH"
            ) from error
        try:
            revision, sizes = self._sizes(HfApi())
            done = 0
            for file, size in sizes.items():
                report(done, sum(sizes.values()))
                hf_hub_download(self._repository, file, repo_type="dataset", revision=revision, local_dir=self._folder)
                done += size
            report(done, done)
            (self._folder / _COMPLETE).touch()
        except DataError:
            raise
        except Exception as error:  # the hub's client raises its own, its transport's and the system's
            raise DataError(
                f"{self.title} cannot be downloaded: {described(error)}. Check the name and the network, and give the "
                "command again; or download the Parquet files elsewhere and read them with parquet:PATH"
            ) from error

    @property
    def _repository(self) -> str:
        return "/".join(self.name.split("/")[:2])

    def _sizes(self, hub: Any) -> tuple[str | None, dict[str, int]]:
        """Return the branch and the sizes of the Parquet files.

        Raises:
            DataError: there is none.
        """
        below = "/".join(self.name.split("/")[2:])
        for revision in (None, _CONVERTED):
            tree = hub.list_repo_tree(self._repository, recursive=True, repo_type="dataset", revision=revision)
            sizes = {entry.path: entry.size for entry in tree if entry.path.endswith(".parquet")}
            found = {path: size for path, size in sizes.items() if not below or path.startswith(f"{below}/")}
            if found:
                return revision, found
        where = f" below {below}" if below else ""
        raise DataError(f"{self.title}: the hub has no Parquet files of it{where}")

    @property
    def has_validation(self) -> bool:
        """Whether a file is of the validation part."""
        return self._files.has_validation

    def fingerprint(self) -> str:
        """Return a digest of the files' paths, sizes and times."""
        return files_fingerprint(sorted(self._folder.rglob("*.parquet")))

    def decode(
        self,
        resize: int | None = None,
        *,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        skip_damaged: bool = False,
        group_by: str | None = None,
    ) -> Arrays:
        """Read all images.

        Raises:
            DataError: a file is not as `Parquet` says, or an image cannot be read; names the file and the row.
        """
        return self._files.decode(resize, fit=fit, skip_damaged=skip_damaged, group_by=group_by)
