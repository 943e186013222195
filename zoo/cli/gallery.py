"""`zoo gallery`: a site of all variants, with what the runs of ledgers say that they do."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.common import Group, default_ledger
from zoo.cli.main import Plugins


@click.group(cls=Group)
def gallery_command() -> None:
    """Make a site of all variants, with what they were measured to do."""


_folder = click.option(
    "--output",
    "-o",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Where the gallery is: a folder that is new, empty, or holds one.",
)


@gallery_command.command()
@_folder
@click.option(
    "--ledger",
    "ledgers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A ledger whose runs are compared; given several times, all of them.  [default: as elsewhere]",
)
@click.option(
    "--checks",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="What `zoo check NAME... --json` printed, to be shown.",
)
@click.option(
    "--published",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Figures of publications, to stand beside what was measured.",
)
@click.option("--title", default="The measured zoo", show_default=True, help="Of the front page.")
@click.option(
    "--no-times",
    is_flag=True,
    help="Do not compare training times, as where other programs ran beside, of which zoo knows nothing.",
)
@click.option(
    "--times",
    "timed",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="What `zoo time SPEC... --json` printed: its ratios, in place of those of runs.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["html", "markdown"]),
    default="html",
    show_default=True,
    help="A site, or its pages, to be part of another.",
)
@click.pass_obj
def build(
    plugins: Plugins,
    folder: Path,
    ledgers: tuple[Path, ...],
    checks: Path | None,
    published: tuple[Path, ...],
    title: str,
    no_times: bool,
    timed: tuple[Path, ...],
    format_: str,
) -> None:
    """Write the gallery of the plugins and of ledgers.

    A page for each variant and for each kind: runs that differ in variants of one kind only are held against each
    other, seed by seed, whatever they were trained for. Nothing is trained.

    \b
    Examples:
      zoo gallery build -o gallery
      zoo --plugin serf.py gallery build --ledger lab.sqlite -o gallery
    """
    registry = plugins.registry()
    from zoo.gallery.build import Sources, build

    sources = Sources(
        ledgers=ledgers or (default_ledger(),),
        checks=checks,
        published=published,
        title=title,
        format="markdown" if format_ == "markdown" else "html",
        times=not no_times,
        timed=timed,
    )
    _say(build(registry, sources, folder), folder)


@gallery_command.command()
@_folder
@click.pass_obj
def update(plugins: Plugins, folder: Path) -> None:
    """Write a gallery again, of what it was made of, as that is now.

    \b
    Examples:
      zoo gallery update -o gallery
    """
    registry = plugins.registry()
    from zoo.gallery.build import build, sources_of

    _say(build(registry, sources_of(folder), folder), folder)


def _say(pages: int, folder: Path) -> None:
    first = next(file for file in (folder / "index.html", folder / "index.md") if file.exists())
    click.echo(f"{pages} pages in {folder}; the first is {first}")
