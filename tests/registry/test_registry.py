"""Plugins are found, loaded and asked: what they register, and what a faulty one costs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
from click.testing import CliRunner
from distributions import Install

from zoo.cli import main
from zoo.errors import PluginError, UnknownNameError
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS
from zoo.spec.resolve import resolve

SWISHISH = '''
from zoo import hookimpl

@hookimpl
def zoo_register_activations(register):
    register("swishish", swishish)

def swishish(*, beta: float = 1.0):
    """Swish, more or less.

    Paper: Nobody, 2020,
    On swish (arXiv:2001.00001).
    """
    from torch import nn
    return nn.SiLU()
'''

SHARPISH = SWISHISH.replace("swish", "sharp")


def activations(registry: Registry) -> list[str]:
    """The activations that are not zoo's own."""
    return [v.name for v in registry.variants("activation").values() if v.plugin.distribution != "layer-zoo"]


def failures(registry: Registry) -> dict[str, str]:
    """The reasons of the failed plugins."""
    return {failure.plugin.name: failure.reason for failure in registry.failures}


# Discovery.


def test_each_module_of_a_package_is_a_plugin(install: Install) -> None:
    files = {
        "mine/__init__.py": "",
        "mine/smooth.py": SWISHISH,
        "mine/_hidden.py": SHARPISH,
        "mine/large/__init__.py": SHARPISH.replace("Sharp", "S"),
    }
    folder = install("my-layers", files, "mine")
    registry = Registry().require_sound()
    mine = {name: plugin for name, plugin in registry.plugins.items() if name.startswith("mine")}
    assert list(mine) == ["mine", "mine.large", "mine.smooth"], "private modules are no plugins"
    assert {plugin.distribution for plugin in mine.values()} == {"my-layers"}
    for plugin, file in (("mine", "__init__.py"), ("mine.large", "large/__init__.py"), ("mine.smooth", "smooth.py")):
        assert mine[plugin].file == str(folder / "mine" / file)
    assert activations(registry) == ["sharpish", "swishish"]


def test_an_entry_point_may_name_a_module_or_an_object(install: Install) -> None:
    plugin = "class Plugin:\n" + "\n".join("    " + line for line in SHARPISH.splitlines()).replace(
        "def zoo_register_activations(register", "def zoo_register_activations(self, register"
    ).replace("sharpish)", "Plugin.sharpish)")
    install("one", {"one/__init__.py": "", "one/module.py": SWISHISH, "one/other.py": "raise OSError"}, "one.module")
    install("two", {"two/__init__.py": plugin + "\nplugin = Plugin()\n", "two/more.py": "raise OSError"}, "two:plugin")
    registry = Registry().require_sound()
    assert activations(registry) == ["sharpish", "swishish"]
    assert not registry.failures, "only what an entry point names is loaded"


def test_a_plugin_that_two_entry_points_name_is_loaded_once(install: Install) -> None:
    files = {"mine/__init__.py": "", "mine/smooth.py": SWISHISH}
    install("mine", files, "mine", "mine.smooth", "mine")
    install("renamed", {}, "mine")
    registry = Registry().require_sound()
    assert not registry.failures
    assert activations(registry) == ["swishish"]


def test_a_new_file_appears_and_a_deleted_one_vanishes(install: Install) -> None:
    folder = install("mine", {"mine/__init__.py": "", "mine/smooth.py": SWISHISH}, "mine")
    assert activations(Registry().require_sound()) == ["swishish"]
    (folder / "mine/sharp.py").write_text(SHARPISH)
    importlib.invalidate_caches()
    assert activations(Registry().require_sound()) == ["sharpish", "swishish"]
    (folder / "mine/smooth.py").unlink()
    importlib.invalidate_caches()
    registry = Registry().require_sound()
    assert activations(registry) == ["sharpish"]
    assert not registry.failures, "what is gone is no failure"


ONE_OF_EACH = '''
from pathlib import Path
from zoo import hookimpl

def factory():
    """Something."""

{hooks}

@hookimpl
def zoo_register_specs(register):
    register("mine/spec", {{"base": "starter/default", "set": {{"training.epochs": 3}}}})
    register("mine/file", Path("mine.toml"))
'''


def test_a_plugin_can_register_each_kind(install: Install) -> None:
    hooks = "\n".join(f"@hookimpl\ndef {k.hook}(register): register('mine', factory)" for k in KINDS.values())
    install("mine", {"mine.py": ONE_OF_EACH.format(hooks=hooks)}, "mine")
    registry = Registry().require_sound()
    for kind in KINDS:
        variant = registry.variant(kind, "mine")
        assert (variant.kind, variant.description, variant.given) == (kind, "Something.", ())
        assert variant.plugin.name == "mine"
    assert resolve("mine/spec", registry=registry).training.epochs == 3
    assert registry.spec("mine/file").source == Path("mine.toml")


def test_a_variant_tells_what_its_docstring_says(install: Install) -> None:
    install("mine", {"mine.py": SWISHISH}, "mine")
    variant = Registry().require_sound().variant("activation", "swishish")
    assert variant.description == "Swish, more or less."
    assert variant.paper == "Nobody, 2020, On swish (arXiv:2001.00001)."
    assert variant.make({"beta": 2.0}, shape=(3, 8, 8)).__class__.__name__ == "SiLU"


def test_variants_are_in_alphabetical_order(registry: Registry) -> None:
    for kind in KINDS:
        assert list(registry.variants(kind)) == sorted(registry.variants(kind))


# Names that are taken, or that nothing has.


def test_two_owners_of_a_name_are_an_error_that_names_both(install: Install) -> None:
    first = install("first", {"one.py": SWISHISH}, "one")
    second = install("second", {"two.py": SWISHISH.replace("more or less", "once more")}, "two")
    registry = Registry()
    with pytest.raises(PluginError) as caught:
        registry.require_sound()
    assert str(caught.value) == (
        f"two plugins register the activation 'swishish': one (first, {first / 'one.py'}) and "
        f"two (second, {second / 'two.py'}). Rename one, or leave one plugin out with `-p no:two` (or `-p no:one`)."
    )
    assert registry.variant("activation", "swishish").description == "Swish, more or less.", "it was overwritten"
    assert activations(Registry(block=["one"]).require_sound()) == ["swishish"]


def test_two_owners_of_a_spec_are_an_error_that_names_both(install: Install) -> None:
    text = "from zoo import hookimpl\n@hookimpl\ndef zoo_register_specs(register): register('starter/default', {})\n"
    install("mine", {"mine.py": text}, "mine")
    with pytest.raises(PluginError, match=r"two plugins register the spec 'starter/default': .*\(mine, .*zoo_plugins"):
        Registry().require_sound()


def test_a_plugin_that_registers_a_name_twice_is_left_out(install: Install) -> None:
    twice = SWISHISH.replace('register("swishish", swishish)', 'register("a", swishish); register("a", swishish)')
    install("mine", {"mine.py": twice}, "mine")
    registry = Registry().require_sound()
    assert failures(registry) == {"mine": "it registers the activation 'a' twice"}
    assert activations(registry) == []


def test_a_misspelt_hook_is_an_error_that_names_the_nearest(install: Install) -> None:
    folder = install("mine", {"mine.py": SWISHISH.replace("_activations", "_activation")}, "mine")
    registry = Registry()
    with pytest.raises(PluginError) as caught:
        registry.require_sound()
    assert str(caught.value) == (
        f"plugin mine (mine, {folder / 'mine.py'}) implements a hook that zoo does not have: zoo_register_activation; "
        "did you mean zoo_register_activations or zoo_register_augmentations or zoo_register_normalizations? "
        "Mend it, or leave the plugin out with `-p no:mine`."
    )
    Registry(block=["mine"]).require_sound()


def test_unknown_names_come_with_the_kind_and_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"^no kind is called 'activations'; did you mean activation or"):
        registry.variants("activations")
    with pytest.raises(UnknownNameError, match=r"^no filter is called 'cnv'; did you mean conv\? `zoo list --kind f"):
        registry.variant("filter", "cnv")
    with pytest.raises(UnknownNameError, match=r"^no spec is called 'default'; did you mean eq2425/default or"):
        registry.spec("default")


def test_an_unknown_name_comes_with_the_failed_plugins(install: Install) -> None:
    install("mine", {"mine.py": "import no_such_module"}, "mine")
    with pytest.raises(UnknownNameError) as caught:
        Registry().require_sound().variant("activation", "swishish")
    first, second = str(caught.value).splitlines()
    assert first.startswith("no activation is called 'swishish'")
    assert second.startswith("It may be in one that failed to load: plugin mine (mine, ")
    assert "ModuleNotFoundError: No module named 'no_such_module' (see `zoo plugins mine` for the trace)" in second


@pytest.mark.parametrize("name", ["", "with space", "a(b)", "a.b", 5])
def test_a_name_that_cannot_be_written_in_a_spec_is_refused(install: Install, name: object) -> None:
    install("mine", {"mine.py": SWISHISH.replace('"swishish"', repr(name))}, "mine")
    reason = failures(Registry())["mine"]
    assert reason == f"activation: {name!r} is not a name; use letters, digits and _"


# Plugins that fail.

HALFWAY = SWISHISH + "\n@hookimpl\ndef zoo_register_dropouts(register): raise KeyError('halfway')\n"

FAULTY = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "from torch import no_such_name": "ImportError: cannot import name 'no_such_name'",
    "def broken(:": "SyntaxError: ",
    "raise SystemExit(3)": "SystemExit: 3",
    "import sys; sys.exit()": "SystemExit",
    "import os; os._exit(0)": "it ends the process as it is imported, by os._exit(0)",
    "1 / 0": "ZeroDivisionError: division by zero",
    "assert False, 'no'": "AssertionError: no",
    HALFWAY: "KeyError: 'halfway'",
    SWISHISH.replace(
        "beta: float = 1.0", "beta=1.0"
    ): "activation 'swishish': parameter 'beta' of swishish has no type",
    SWISHISH.replace("= 1.0", ""): "activation 'swishish': parameter 'beta' of swishish has no default",
    SWISHISH.replace("beta", "name"): "activation 'swishish': parameter 'name' of swishish: an option cannot be called",
    SWISHISH.replace("*, beta: float = 1.0", "*beta"): "activation 'swishish': parameter 'beta' of swishish must be a",
    SWISHISH.replace('register("swishish", swishish)', 'register("swishish")'): "TypeError: ",
    SWISHISH.replace("(register)", "(registry)"): "PluginValidationError: ",
    SWISHISH.replace("activations", "specs").replace(", swishish)", ", 5)"): "spec 'swishish': expected a mapping or",
}


@pytest.mark.parametrize(("text", "reason"), FAULTY.items(), ids=list(FAULTY.values()))
def test_a_plugin_that_fails_costs_only_its_own_variants(
    install: Install, registry: Registry, text: str, reason: str
) -> None:
    folder = install("faulty", {"faulty/__init__.py": "", "faulty/bad.py": text, "faulty/good.py": SHARPISH}, "faulty")
    loaded = Registry().require_sound()
    (failure,) = loaded.failures
    assert failure.plugin.name == "faulty.bad"
    assert failure.reason.startswith(reason)
    assert str(failure).startswith(f"plugin faulty.bad (faulty, {folder / 'faulty/bad.py'}) is left out: {reason}")
    assert str(failure).endswith("(see `zoo plugins faulty.bad` for the trace)")
    assert failure.trace.startswith("Traceback")
    assert activations(loaded) == ["sharpish"], "nothing of the faulty plugin may stay, and all of the others"
    assert "faulty.bad" not in loaded.plugins
    for kind in KINDS:
        assert set(registry.variants(kind)) <= set(loaded.variants(kind))
    assert set(registry.specs) <= set(loaded.specs)
    assert resolve("starter/4c", registry=loaded).identity == resolve("starter/4c", registry=registry).identity


def test_a_package_that_does_not_import_costs_only_itself(install: Install) -> None:
    install("faulty", {"faulty/__init__.py": "raise SystemExit(1)", "faulty/inner.py": ""}, "faulty.inner")
    install("gone", {}, "no_such_package.inner")
    registry = Registry().require_sound()
    assert failures(registry) == {
        "faulty.inner": "SystemExit: 1",
        "no_such_package.inner": "ModuleNotFoundError: No module named 'no_such_package'",
    }


def test_a_failed_plugin_hears_of_nothing(install: Install, tmp_path: Path) -> None:
    listening = HALFWAY + "\n@hookimpl\ndef zoo_run_started(run): raise AssertionError('it was told')\n"
    install("faulty", {"faulty.py": listening}, "faulty")
    assert Registry().hook.zoo_run_started(run=None) == []


def test_interrupting_is_not_a_failure_of_a_plugin(install: Install) -> None:
    install("mine", {"mine.py": "raise KeyboardInterrupt"}, "mine")
    with pytest.raises(KeyboardInterrupt):
        Registry()


def test_strict_makes_a_failure_fatal(install: Install) -> None:
    folder = install("faulty", {"faulty.py": "\n1 / 0\n"}, "faulty")
    Registry().require_sound()
    with pytest.raises(PluginError) as caught:
        Registry(strict=True).require_sound()
    file = folder / "faulty.py"
    assert str(caught.value) == (
        f"plugin faulty (faulty, {file}) cannot be used: ZeroDivisionError: division by zero (line 2)"
    )


def test_the_command_line_says_on_stderr_what_failed_and_works(install: Install) -> None:
    install("faulty", {"faulty.py": "1 / 0"}, "faulty")
    listed = CliRunner().invoke(main, ["list", "--kind", "activation"])
    assert listed.exit_code == 0
    assert "leaky_relu" in listed.stdout
    (warning,) = listed.stderr.splitlines()
    assert warning.startswith("Warning: plugin faulty (faulty, ")
    assert warning.endswith("is left out: ZeroDivisionError: division by zero (see `zoo plugins faulty` for the trace)")
    assert "1 / 0" in CliRunner().invoke(main, ["plugins", "faulty"]).stdout, "`zoo plugins` must show the trace"
    strict = CliRunner().invoke(main, ["--strict-plugins", "list"])
    assert strict.exit_code == 2
    assert strict.stderr.startswith("Error: plugin faulty (faulty, ")


# Leaving plugins out.


@pytest.mark.parametrize("name", ["mine.smooth", "smooth", "mine", "my-layers", " mine.smooth "])
def test_a_plugin_is_left_out_by_its_name_package_or_distribution(
    install: Install, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install("my-layers", {"mine/__init__.py": "", "mine/smooth.py": SWISHISH, "mine/bad.py": "1 / 0"}, "mine")
    loaded = Registry(block=[name, "bad"]).require_sound()
    assert activations(loaded) == []
    assert not loaded.failures, "what is left out is not imported"
    monkeypatch.setenv("ZOO_BLOCK", f"bad,{name}")
    assert activations(Registry().require_sound()) == []


def test_leaving_out_what_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError) as caught:
        Registry(block=["zoo_plugins.dropout"]).require_sound()
    assert str(caught.value).startswith(
        "cannot leave out plugin 'zoo_plugins.dropout': there is none; did you mean zoo_plugins.dropouts"
    )
    monkeypatch.setenv("ZOO_BLOCK", "xyz")
    with pytest.raises(UnknownNameError, match=r"cannot leave out plugin 'xyz': there is none\."):
        Registry().require_sound()


def test_first_party_plugins_can_be_left_out_too() -> None:
    registry = Registry(block=["layer-zoo"]).require_sound()
    assert not registry.specs
    assert not any(registry.variants(kind) for kind in KINDS)


# Single files.


def test_a_single_file_is_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "swishish.py"
    file.write_text(SWISHISH)
    registry = Registry(files=[file, tmp_path / "." / "swishish.py"]).require_sound()
    assert activations(registry) == ["swishish"]
    plugin = registry.variant("activation", "swishish").plugin
    assert str(plugin) == f"swishish (single file, {file})"
    assert registry.arguments["files"] == (file, file)


@pytest.mark.parametrize("name", ["torch.py", "zoo.py", "numpy.py", "zoo_plugins.py"])
def test_a_single_file_named_like_a_module_does_no_harm(tmp_path: Path, name: str) -> None:
    before = {module: sys.modules.get(module) for module in ("torch", "zoo", "numpy")}
    file = tmp_path / name
    file.write_text(SWISHISH)
    registry = Registry(files=[file])
    assert {module: sys.modules.get(module) for module in before} == before
    if name == "zoo_plugins.py":
        message = r"two plugins are called 'zoo_plugins': zoo_plugins \(layer-zoo, .*\) and zoo_plugins \(single file, "
        with pytest.raises(PluginError, match=message):
            registry.require_sound()
        assert "zoo_plugins" in registry.plugins
    else:
        assert activations(registry.require_sound()) == ["swishish"]


def test_single_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    files = [tmp_path / folder / "swishish.py" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_text(SWISHISH)
    registry = Registry(files=files)
    with pytest.raises(PluginError, match=r"two plugins are called 'swishish': .*a/swishish\.py\) and .*b/swishish"):
        registry.require_sound()
    assert registry.variant("activation", "swishish").plugin.file == str(files[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.py", None, r"there is no file .*missing\.py$"),
        ("notes.txt", SWISHISH, r"notes\.txt is not a Python file: a single-file plugin ends in \.py$"),
        ("notes", SWISHISH, r"notes is not a Python file: a single-file plugin ends in \.py$"),
        ("raising.py", "x = 1\n1 / 0\n", r"ZeroDivisionError: division by zero \(line 2\)$"),
        ("syntax.py", "def f(:\n", r"SyntaxError: .*\(syntax\.py, line 1\)$"),
        ("exits.py", "raise SystemExit", r": SystemExit \(line 1\)$"),
        ("folder.py", "", r"there is no file .*folder\.py$"),
    ],
)
def test_a_single_file_that_cannot_be_used_is_an_error(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    file = tmp_path / name
    if name == "folder.py":
        file.mkdir()
    elif text is not None:
        file.write_text(text)
    registry = Registry(files=[file])
    with pytest.raises(PluginError, match=message) as caught:
        registry.require_sound()
    assert str(caught.value).startswith(f"plugin {file.stem} (single file, {file}) cannot be used: ")
    assert registry.variants("activation"), "the rest stays usable, so that `zoo plugins` can show what is wrong"


REPLACES = """
import functools
import torch
from zoo import hookimpl

@hookimpl
def zoo_register_activations(register):
    {registering}

relu, torch.Tensor.{own} = torch.relu, lambda x: x

def replace():
    torch.relu = functools.wraps(relu)(lambda x: 2 * relu(x))

{imported}
"""


@pytest.mark.parametrize(("registering", "imported"), [("replace()", "pass"), ("pass", "replace()")])
def test_a_plugin_that_replaces_functions_of_torch_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registering: str, imported: str
) -> None:
    monkeypatch.setattr(torch, "relu", torch.relu)
    file = tmp_path / "replaces.py"
    file.write_text(REPLACES.format(registering=registering, imported=imported, own="sin"))
    message = (
        r"plugin replaces \(single file, .*\) replaces functions of torch by its own: torch.Tensor.sin, torch.relu\."
    )
    with pytest.raises(PluginError, match=message):
        Registry(files=[file]).require_sound()
    assert torch.relu(torch.tensor(1.0)) == 1
    assert torch.tensor(1.0).sin() != 1


def test_a_plugin_may_fork_a_process_that_ends_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "forks.py"
    file.write_text("import os\nif not (child := os.fork()):\n    os._exit(3)\nstatus = os.waitpid(child, 0)[1]\n")
    registry = Registry(files=[file]).require_sound()
    assert "forks" in registry.plugins
    assert os.waitstatus_to_exitcode(sys.modules["zoo_single_file_forks"].status) == 3


# Without torch.

WITHOUT_TORCH = """
import sys
import zoo
from zoo.cli import main
from zoo.errors import SpecError, UnknownNameError
from zoo.spec.resolve import resolve
from click.testing import CliRunner

listed = CliRunner().invoke(main, ["list"])
assert listed.exit_code == 0, listed.output
assert "eq2425/4c" in listed.output and "leaky_relu" in listed.output
assert CliRunner().invoke(main, ["show", "filter:conv"]).exit_code == 0
for bad in ({"base": "starter/default", "set": {"filter.size": "5x5"}}, {"network": {}}):
    try:
        resolve(bad)
    except SpecError as error:
        assert "expected a positive int" in str(error) or "required" in str(error), error
    else:
        raise AssertionError(bad)
assert CliRunner().invoke(main, ["benchmark", "no/such", "--yes"]).exit_code == 2
loaded = sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision", "sklearn"))
assert not loaded, f"imported: {loaded}"
"""


def test_listing_and_refusing_import_no_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_hook_that_is_not_marked_is_said(tmp_path: Path) -> None:
    file = tmp_path / "forgetful.py"
    file.write_text("def zoo_register_activations(register):\n    register('a', lambda: None)\n")
    registry = Registry(files=[file])
    with pytest.raises(
        PluginError, match=r"zoo_register_activations is not marked as a hook: put @zoo\.hookimpl above it"
    ):
        registry.require_sound()


def test_a_lambda_is_a_factory(tmp_path: Path) -> None:
    from zoo.spec.resolve import resolve

    file = tmp_path / "short.py"
    file.write_text(
        "import zoo\n@zoo.hookimpl\ndef zoo_register_activations(register):\n    register('short', lambda: None)\n"
    )
    registry = Registry(files=[file]).require_sound()
    spec = resolve({"base": "starter/default", "set": {"activation": "short"}}, registry=registry)
    assert spec.network.features[0].activation.name == "short"


IN_A_LOOP = """
from typing import Literal
import zoo

def made(default, annotation):
    def factory(*, option=default, shared: zoo.PositiveInt = 3):
        "One of several."
    factory.__annotations__["option"] = annotation
    return factory

@zoo.hookimpl
def zoo_register_activations(register):
    for name, default, annotation in (("a", 1, int), ("b", 2, int), ("c", 1, float), ("d", 1, int)):
        register(f"loop_{name}", made(default, annotation))
"""


def test_options_of_factories_that_are_made_in_a_loop_are_their_own(tmp_path):
    (tmp_path / "loop.py").write_text(IN_A_LOOP)
    variants = Registry(files=[tmp_path / "loop.py"]).require_sound().variants("activation")
    options = {name: attrs.fields_dict(variants[f"loop_{name}"].options)["option"] for name in "abcd"}
    assert [(field.default, field.type) for field in options.values()] == [(1, int), (2, int), (1, float), (1, int)]
    assert variants["loop_a"].options is variants["loop_d"].options, "read once"
