"""The bar that shows how far the decoding of files is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zoo.cli import decoding
from zoo.data import ImageFile, decode_files


def shown(monkeypatch: pytest.MonkeyPatch, after: float) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(decoding.layout, "progress_console", lambda: console)
    monkeypatch.setattr(decoding, "_SHOWN_AFTER", after)
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    with decoding.decoding_shown():
        decode_files([ImageFile("a", file.getvalue())] * 3, 3)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_a_bar_shows_how_many_files_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, after=-1)
    assert "images decoded" in text
    assert "3/3" in text


def test_what_is_soon_done_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, after=60) == ""
