"""The page on notebooks in a real kernel: what cells show, and what interrupting one leaves."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient
from snippets import ROOT, blocks

PAGE = ROOT / "docs/how-to/work-in-python.md"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The page's blocks as cells, carried out in a folder of their own; a last one that is interrupted."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = []
    for block in blocks(PAGE):
        if block.file:
            (folder / block.file).write_text(block.text)
        else:
            cells.append(nbformat.v4.new_code_cell(block.text))
    cells.append(nbformat.v4.new_code_cell("{run.provenance['command'] for run in table.all}"))
    cells.append(nbformat.v4.new_code_cell("table"))
    cells.append(
        nbformat.v4.new_code_cell(
            "import os, signal, threading\n"
            "threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "lab.benchmark('starter/default', seeds=1, epochs=100000)",
            metadata={"tags": ["raises-exception"]},
        )
    )
    cells.append(nbformat.v4.new_code_cell("len(lab.results().all)"))
    made = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return made


def shown(cell, form):
    return [output["data"][form] for output in cell.outputs if form in output.get("data", {})]


def test_every_cell_of_the_page_works(notebook):
    errors = [output for cell in notebook.cells[:-2] for output in cell.outputs if output.output_type == "error"]
    assert not errors


def test_a_cell_shows_the_table(notebook):
    (page,) = shown(notebook.cells[-3], "text/html")
    assert page.count("<tr") == 3
    assert "Paired by seed" in page
    (text,) = shown(notebook.cells[-3], "text/plain")
    assert text.startswith("digits, ")


def test_runs_are_said_to_be_of_a_notebook(notebook):
    assert shown(notebook.cells[-4], "text/plain") == ["{'notebook'}"]


def test_an_interrupted_cell_says_what_is_kept_and_no_more(notebook):
    (error,) = [output for output in notebook.cells[-2].outputs if output.output_type == "error"]
    assert error["ename"] == "Stopped"
    (text,) = error["traceback"]
    stored, goes_on, begun, hint = text.split("\n")
    assert hint == "`zoo results --partial` shows the epochs of runs that have not ended."
    assert (stored, goes_on) == ("Stopped: 0 of 1 run stored in zoo.sqlite.", "The same command goes on from there.")
    assert re.fullmatch(
        r"starter/default seed 0: \d+ of 100000 epochs were trained; it begins anew: no checkpoint was saved yet\.",
        begun,
    )


def test_the_next_cell_goes_on(notebook):
    (count,) = shown(notebook.cells[-1], "text/plain")
    assert int(count) in (10 + 5, 10 + 2 * 5), "and the runs that confirm the choice: of the base, or of two arms"


def test_the_notebook_of_the_tutorials_works(tmp_path):
    made = nbformat.read(ROOT / "docs/tutorials/first-comparison.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in made.cells), "it is kept without what it prints"
    NotebookClient(made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert "3 seeds" in shown(code[2], "text/plain")[0]
    assert "sine" in shown(code[3], "text/html")[0]
    assert shown(code[4], "image/png")
