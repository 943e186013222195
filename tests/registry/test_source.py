"""The digest of a run's source: it changes with what the run uses, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from distributions import Install

from zoo.errors import PluginError
from zoo.registry import Registry, source
from zoo.registry.source import source_digest
from zoo.spec.resolve import resolve

PLUGIN = '''
from zoo import hookimpl

@hookimpl
def zoo_register_activations(register):
    register("mine", mine)

def mine():
    """Mine."""
    {imports}
'''

HELPER = "x = 1\n"
SPEC = {"base": "starter/default", "set": {"network.features.0.activation": "mine"}}


def digest(spec: object = SPEC, *, files: tuple[Path, ...] = ()) -> str:
    """The digest in a fresh process's eyes: what was read and imported before is forgotten."""
    for function in (source.source_files, source._content_digest):
        function.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "lonely")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    registry = Registry(files=files).require_sound()
    assert not registry.failures
    return source_digest(resolve(spec, registry=registry), registry)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("mine/layers.py", "from mine._helper import x"),
        ("mine/layers.py", "import mine._helper"),
        ("mine/layers.py", "from mine import _helper"),
        ("mine/layers.py", "from . import _helper"),
        ("mine/layers.py", "import mine._between"),
        ("mine/__init__.py", "from . import _helper"),
        ("mine/__init__.py", "from ._helper import x"),
        ("mine/deep/__init__.py", "from .. import _helper"),
        ("mine/deep/__init__.py", "from .._helper import x"),
    ],
)
def test_what_a_variant_imports_from_its_package_counts(install: Install, module: str, imports: str) -> None:
    helpers = {"mine/_helper.py": HELPER, "mine/_between.py": "from mine._helper import x\n", "mine/_other.py": HELPER}
    folder = install("mine", {"mine/__init__.py": "", **helpers, module: PLUGIN.format(imports=imports)}, "mine")
    before = digest()
    assert digest() == before
    (folder / "mine/_other.py").write_text("x = 2\n")
    assert digest() == before, "a file that the variant does not import counts"
    (folder / "mine/_helper.py").write_text("x = 2\n")
    after = digest()
    assert after != before, "a file that the variant imports does not count: runs of the old code would be reused"
    (folder / module).write_text((folder / module).read_text() + "# edited\n")
    assert digest() != after


def test_only_the_plugins_that_a_spec_uses_count(install: Install) -> None:
    folder = install("mine", {"mine.py": PLUGIN.format(imports="pass")}, "mine")
    with_mine, without = digest(), digest("starter/default")
    (folder / "mine.py").write_text(PLUGIN.format(imports="return None"))
    assert digest() != with_mine
    assert digest("starter/default") == without


def test_specs_with_the_same_variants_have_the_same_source() -> None:
    assert digest("starter/default") == digest("starter/4a1")
    assert digest("starter/default") != digest("modern/residual"), "only the latter has an augmentation"


def test_nested_choices_count(install: Install) -> None:
    block = {"name": "squeeze_excitation", "inner": "mine"}
    text = PLUGIN.format(imports="pass").replace("activations", "blocks")
    folder = install("mine", {"mine.py": text}, "mine")
    spec = {"base": "starter/default", "set": {"network.features.0.block": block}}
    before = digest(spec)
    (folder / "mine.py").write_text(text + "# edited\n")
    assert digest(spec) != before


def test_a_single_file_counts_alone_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "torch.py"
    file.write_text(PLUGIN.format(imports="import torch.nn"))
    before = digest(files=(file,))
    registry = Registry(files=[file])
    plugin = registry.variant("activation", "mine").plugin
    assert source.source_files(plugin) == {file}, "torch's own source is none of a plugin's"
    file.write_text(PLUGIN.format(imports="import torch.nn.functional"))
    assert digest(files=(file,)) != before


def test_an_import_that_leads_nowhere_is_passed_over(install: Install) -> None:
    imports = "from ....mine import x\n    from mine.gone import y\n    from mine import gone\n    import gone"
    install("mine", {"mine/__init__.py": "", "mine/layers.py": PLUGIN.format(imports=imports)}, "mine")
    assert len(digest()) == 64


def test_a_file_that_is_not_python_is_named(install: Install) -> None:
    files = {"mine/__init__.py": "", "mine/layers.py": PLUGIN.format(imports="from mine import _helper")}
    folder = install("mine", {**files, "mine/_helper.py": "x = 1\ndef f(:\n"}, "mine")
    with pytest.raises(PluginError) as caught:
        digest()
    assert str(caught.value) == f"{folder / 'mine/_helper.py'} is not valid Python: line 2: invalid syntax"
