"""What the documents hold: their fenced blocks, headings, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
PARSER = MarkdownIt("commonmark").enable("table")

FILE_MARK = re.compile(r"<!-- file: (\S+) -->\s*")


@attrs.frozen
class Block:
    """A fenced block. `line` is that of its first line of text; `file` is what a mark before it names."""

    document: Path
    line: int
    language: str
    text: str
    file: str | None
    before: str
    """The paragraph or heading that stands before it."""

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@attrs.frozen
class Link:
    """A link as it is written."""

    document: Path
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """Return a document's fenced blocks in order.

    A comment `<!-- file: NAME -->` right before a block says that the block is the content of a file.
    """
    found = []
    file, before = None, ""
    for token in _tokens(document):
        if token.type == "html_block":
            match = FILE_MARK.fullmatch(token.content)
            file = match[1] if match else None
        elif token.type == "inline":
            before = token.content
        elif token.type == "fence":
            assert token.map
            found.append(Block(document, token.map[0] + 2, token.info, token.content, file, before))
            file = None
    return found


def sections(document: Path) -> dict[str, list[Token]]:
    """Return what stands below each heading, up to the next heading of any level, by the heading's text."""
    found: dict[str, list[Token]] = {}
    tokens = _tokens(document)
    current: list[Token] = []
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            current = found.setdefault(_text(tokens[index + 1]), [])
        else:
            current.append(token)
    return found


def prose(tokens: list[Token]) -> str:
    """Return the text of tokens as it is written, blocks included."""
    return "\n".join(token.content for token in tokens if token.type in ("inline", "fence"))


def table(tokens: list[Token]) -> list[list[str]]:
    """Return the cells of the tables among tokens, row by row, less the headings."""
    rows: list[list[str]] = []
    inside = False
    for index, token in enumerate(tokens):
        if token.type in ("tbody_open", "tbody_close"):
            inside = token.type == "tbody_open"
        elif inside and token.type == "tr_open":
            rows.append([])
        elif inside and token.type == "td_open":
            rows[-1].append(_text(tokens[index + 1]))
    return rows


def links(document: Path) -> Iterator[Link]:
    """Yield a document's links and images."""
    for token in _tokens(document):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield Link(document, (token.map or [0])[0] + 1, str(target))


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    tokens = _tokens(document)
    titles = [_text(tokens[i + 1]) for i, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _tokens(document: Path) -> list[Token]:
    return PARSER.parse(document.read_text(encoding="utf-8"))


def _text(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())
