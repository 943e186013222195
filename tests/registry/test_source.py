"""The digest of a run's source: it changes with what the run uses, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from distributions import Install

from zoo.errors import PluginError
from zoo.registry import Registry, loaded, source
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
    for function in (source.plugin_source, source.installed, source._same_figures):
        function.cache_clear()
    loaded.forget()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "lab", "other")]:
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


KINDS = """
from zoo import hookimpl

@hookimpl
def zoo_layer_kinds():
    return {{"activation": ("{name}",)}}
"""


def test_what_says_which_layers_are_replaced_counts_where_some_are(install: Install) -> None:
    folder = install("mine", {"mine.py": KINDS.format(name="relu9")}, "mine")
    replaced = {"base": "small/resnet", "set": {"activation": "mish"}}
    at_some = {"base": "small/resnet", "set": {'replace."stages.2.*".activation': "mish"}}
    before = [digest(spec) for spec in (replaced, at_some, "small/resnet", "starter/default")]
    (folder / "mine.py").write_text(KINDS.format(name="relu10"))
    after = [digest(spec) for spec in (replaced, at_some, "small/resnet", "starter/default")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, True]


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


def edited(file: Path, *files: Path) -> tuple[str, str]:
    """The digest before and after an edit of a helper."""
    before = digest(files=files)
    assert digest(files=files) == before
    file.write_text("x = 2\n")
    return before, digest(files=files)


@pytest.mark.parametrize(
    ("imports", "others"),
    [
        ("import lab.layers", {"lab/__init__.py": ""}),
        ("from lab import layers", {"lab/__init__.py": ""}),
        ("from lab.layers import x", {}),
        ("from lab import x", {"lab/__init__.py": "from .layers import x\n"}),
        ("import lab.deep.more", {"lab/__init__.py": "from . import layers\n", "lab/deep/more.py": ""}),
        ("import lab.between", {"lab/between.py": "def f():\n    from lab import layers\n"}),
        ("import between", {"between.py": "from lab.layers import *\n"}),
        ("import importlib; importlib.import_module('lab.layers')", {}),
        ("from importlib import import_module; import_module('.layers', 'lab')", {"lab/__init__.py": ""}),
        ("__import__('lab.layers')", {}),
    ],
)
def test_a_helper_outside_the_plugin_counts(
    imports: str, others: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, text in {"lab/layers.py": HELPER, "lab/other.py": HELPER, **others}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(imports=imports))
    unused, alike = edited(tmp_path / "lab/other.py", file)
    assert unused == alike, "a module that nothing imports counts"
    before, after = edited(tmp_path / "lab/layers.py", file)
    if "'.layers'" in imports:  # relative to a package that is known only when it is run
        assert source.plugin_source(Registry(files=[file]).plugins["mine"]).unseen == ()
    else:
        assert before != after


def test_a_helper_beside_a_single_file_counts_however_it_gets_onto_the_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(imports="import sys; sys.path.insert(0, 'here'); import lonely"))
    (tmp_path / "lonely.py").write_text(HELPER)
    before, after = edited(tmp_path / "lonely.py", file)
    assert before != after


def test_installed_distributions_are_not_followed_and_editable_ones_are(install: Install, tmp_path: Path) -> None:
    imports = "import math, torch, other, lab, zoo, gone; from zoo_plugins import _blocks; __import__(lab.name)"
    install("mine", {"mine.py": PLUGIN.format(imports=imports)}, "mine")
    there = install("other", {"other/__init__.py": HELPER})
    (there / "other-1.0.dist-info/RECORD").write_text("other/__init__.py,,\nother-1.0.dist-info/METADATA,,\n")
    developed = install("lab", {"lab/__init__.py": HELPER, "lab.egg-info/SOURCES.txt": "", "lab.egg-info/PKG-INFO": ""})
    (developed / "lab.egg-info/top_level.txt").write_text("lab\n")
    before, after = edited(there / "other/__init__.py")
    assert before == after
    before, after = edited(developed / "lab/__init__.py")
    assert before != after
    found = source.plugin_source(Registry().plugins["mine"])
    assert found.helpers == {developed / "lab/__init__.py": "lab/__init__.py"}
    assert found.unseen == ("gone (not found)", "other", "torch", "what line 10 of mine.py imports by __import__")
    assert found.libraries == {"other": "1.0", "torch": torch.__version__.partition("+")[0]}


def test_the_plugins_own_distribution_is_followed_in_all_its_packages(install: Install) -> None:
    folder = install("mine", {"mine.py": PLUGIN.format(imports="import lab"), "lab.py": HELPER}, "mine")
    (folder / "mine-1.0.dist-info/RECORD").write_text("mine.py,,\nlab.py,,\n")
    before, after = edited(folder / "lab.py")
    assert before != after


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


# In one process that lives long


def of(registry: Registry) -> str:
    """The digest as this process sees it."""
    return source_digest(resolve(SPEC, registry=registry), registry)


def rewritten(file: Path, text: str) -> None:
    """Edit a file so that its size and its time differ, as they do when a person edits it."""
    file.write_text(f"{text}# edited {file.stat().st_mtime_ns}\n")


def test_a_single_file_that_was_edited_since_it_was_loaded_is_named_as_it_was_loaded(tmp_path: Path) -> None:
    file, other = tmp_path / "mine.py", tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    for path in (file, other):
        path.write_text(PLUGIN.format(imports="return 1"))
    registry = Registry(files=[file]).require_sound()
    rewritten(file, PLUGIN.format(imports="return 2"))
    assert registry.variant("activation", "mine").factory() == 1
    before = of(Registry(files=[other]).require_sound())
    assert of(registry) == before
    again = Registry(files=[file]).require_sound()
    assert again.variant("activation", "mine").factory() == 2
    assert of(again) != before, "what is loaded anew has another content, also in the same process"
    assert of(registry) == before


def test_an_edit_of_the_same_size_in_the_same_second_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for value in "12345":
        file.write_text(PLUGIN.format(imports=f"return {value}"))
        assert Registry(files=[file]).variant("activation", "mine").factory() == int(value)


def test_an_imported_plugin_that_was_edited_is_named_as_it_was_imported(install: Install) -> None:
    folder = install("mine", {"mine.py": PLUGIN.format(imports="return 1")}, "mine")
    before = digest()
    loaded.forget()
    rewritten(folder / "mine.py", PLUGIN.format(imports="return 2"))
    registry = Registry().require_sound()
    assert registry.variant("activation", "mine").factory() == 1
    assert of(registry) == before
    importlib.reload(sys.modules["mine"])
    assert of(Registry().require_sound()) != before


EAGER = "from mine._helper import x\n" + PLUGIN


def test_a_helper_that_was_edited_between_its_import_and_the_first_look_is_refused(install: Install) -> None:
    files = {"mine/__init__.py": "", "mine/_helper.py": HELPER, "mine/layers.py": EAGER.format(imports="pass")}
    folder = install("mine", files, "mine")
    source.plugin_source.cache_clear()
    registry = Registry().require_sound()
    rewritten(folder / "mine/_helper.py", "x = 2\n")
    with pytest.raises(PluginError, match=r"_helper\.py was edited after it was loaded, or shortly before, and what "):
        of(registry)


def test_a_helper_that_was_edited_later_is_named_as_it_was_imported(install: Install) -> None:
    files = {"mine/__init__.py": "", "mine/_helper.py": HELPER, "mine/layers.py": EAGER.format(imports="pass")}
    folder = install("mine", files, "mine")
    registry = Registry().require_sound()
    before = of(registry)
    (folder / "mine/_helper.py").touch()
    assert of(registry) == before
    rewritten(folder / "mine/_helper.py", "x = 2\n")
    assert of(registry) == before
    importlib.reload(sys.modules["mine._helper"])
    with pytest.raises(PluginError, match="begin anew in a new process"):
        of(registry)


def test_what_is_imported_when_it_is_used_is_named_as_it_is_then(install: Install) -> None:
    lazy = PLUGIN.format(imports="from mine._helper import x; return x")
    files = {"mine/__init__.py": "", "mine/_helper.py": HELPER, "mine/_more.py": HELPER, "mine/layers.py": lazy}
    folder = install("mine", files, "mine")
    registry = Registry().require_sound()
    before = of(registry)
    rewritten(folder / "mine/_helper.py", "from mine._more import x\n")
    after = of(registry)
    assert after != before
    rewritten(folder / "mine/_more.py", "x = 3\n")
    assert of(registry) not in (before, after), "what it imports now is followed"
    assert registry.variant("activation", "mine").factory() == 3
    current = of(registry)
    rewritten(folder / "mine/_more.py", "x = 4\n")
    assert of(registry) == current
