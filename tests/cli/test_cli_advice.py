"""Errors that know what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import zoo as zoo_package
from zoo.errors import PluginError, SpecError
from zoo.registry import Registry
from zoo.spec.resolve import resolve

Zoo = Callable[..., Result]


def images(folder: Path, *, sizes: tuple[int, ...] = (8,)) -> None:
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in range(2):
                size = sizes[index % len(sizes)]
                pixels = np.full((size, size, 3), 40 * label + index, np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")


@pytest.mark.parametrize("name", ["images", "./images"])
def test_a_folder_is_told_how_it_is_named(zoo: Zoo, folder: Path, name: str) -> None:
    (folder / "images").mkdir()
    result = zoo("benchmark", "starter/default", "--data", name)
    assert result.exit_code == 2
    assert f"There is a folder {name}: write folder:{name}" in result.stderr
    result = zoo("data", "get", name)
    assert f"There is a folder {name}: write folder:{name}" in result.stderr


def test_a_file_of_arrays_is_told_how_it_is_named(zoo: Zoo, folder: Path) -> None:
    (folder / "mine.npz").touch()
    result = zoo("benchmark", "starter/default", "--data", "mine.npz")
    assert "There is a file mine.npz: write npz:mine.npz" in result.stderr


def test_showing_a_variant_without_its_kind_names_it(zoo: Zoo) -> None:
    result = zoo("show", "relu")
    assert result.exit_code == 2
    assert result.stderr.strip() == "Error: relu is no spec but an activation: `zoo show activation:relu`"
    result = zoo("show", "default")
    assert "`zoo show initializer:default`" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("benchmark", "--plugin", "x.py"), "--plugin goes before the command: zoo --plugin FILE.py benchmark ..."),
        (("study", "run", "--plugin", "x.py"), "--plugin goes before the command: zoo --plugin FILE.py study ..."),
        (("list", "-p", "no:x"), "-p goes before the command: zoo -p no:NAME list ..."),
        (("list", "--strict-plugins"), "--strict-plugins goes before the command: zoo --strict-plugins list ..."),
    ],
)
def test_an_option_of_zoo_itself_is_said_to_go_before_the_command(
    zoo: Zoo, arguments: tuple[str, ...], text: str
) -> None:
    result = zoo(*arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_another_unknown_option_is_click_s_own_message(zoo: Zoo) -> None:
    result = zoo("list", "--kinds", "x")
    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert "--kind" in result.stderr


def test_images_of_several_sizes_are_resized_where_they_are_got(zoo: Zoo, folder: Path) -> None:
    images(folder / "mixed", sizes=(8, 10))
    result = zoo("data", "get", "folder:mixed")
    assert result.exit_code == 2
    assert "`--set data.resize=32`" in result.stderr
    result = zoo("data", "get", "folder:mixed", "--set", "data.resize=6")
    assert result.exit_code == 0, result.output
    assert "4 training and 4 test images of 3x6x6" in result.stdout


PLUGIN = """
import zoo


@zoo.hookimpl
def zoo_register_activations(register):
    register("plain", lambda: None)
"""


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_registry_takes_names_of_files(tmp_path: Path, kind: type, several: bool) -> None:
    file = tmp_path / "plain.py"
    file.write_text(PLUGIN)
    given = kind(file)
    registry = zoo_package.Registry(files=[given] if several else given).require_sound()
    assert "plain" in registry.variants("activation")


def test_the_base_of_a_spec_may_be_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "shapes.toml").write_text('base = "starter/default"\n[set]\n"training.epochs" = 7\n')
    (tmp_path / "more.toml").write_text('base = "shapes.toml"\n[set]\nactivation = "mish"\n')
    spec = resolve(tmp_path / "more.toml")
    assert (spec.name, spec.training.epochs) == ("more", 7)
    assert spec.network.features[0].activation.name == "mish"
    (tmp_path / "shapes.toml").write_text('base = "more.toml"\n')
    with pytest.raises(SpecError, match="is its own base: "):
        resolve(tmp_path / "more.toml")
    (tmp_path / "more.toml").write_text('base = "nowhere.toml"\n')
    with pytest.raises(SpecError, match=r"cannot read the spec file .*nowhere\.toml: No such file"):
        resolve(tmp_path / "more.toml")


WORKS = """
import torch
import zoo


def works(x{annotation}):
    '''Computes at once.'''
    return torch.relu(x)


@zoo.hookimpl
def zoo_register_activations(register):
    register("works", works)
"""
HINT = "a factory returns a torch.nn.Module, and what is computed on a batch belongs into that module's forward"


@pytest.mark.parametrize("annotation", ["", ": float"])
def test_a_function_that_computes_is_told_what_a_factory_is(tmp_path: Path, annotation: str) -> None:
    file = tmp_path / "works.py"
    file.write_text(WORKS.format(annotation=annotation))
    with pytest.raises(PluginError, match=f"If it is meant to be a batch: {HINT}"):
        Registry(files=[file]).require_sound()
