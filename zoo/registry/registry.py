"""What is registered: plugins are found, loaded and asked, and what they registered is looked up by name.

Loading imports plugins, never torch. A plugin that fails costs only what it would have registered; two owners of
one name, and a misspelt hook, are errors.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import attrs
import pluggy

from zoo import torch_settings
from zoo.characters import not_in_a_name
from zoo.errors import PluginError, UnknownNameError, ZooError, described, is_interruption, near_misses, text_of
from zoo.registry import hookspecs, loaded
from zoo.registry.hookspecs import KINDS
from zoo.registry.options import Choice, kinds_in, options_class
from zoo.registry.promises import may_change_channels

ENTRY_POINT_GROUP = "zoo"
BLOCK_VARIABLE = "ZOO_BLOCK"
SINGLE_FILE = "single file"
"""What stands for the distribution of a plugin that is a single file."""


@attrs.frozen
class Plugin:
    """A loaded plugin: its name, where it comes from, and the file that defines it.

    Attributes:
        content: what the file held when it was loaded; it may have been edited since. None where nothing was loaded.
    """

    name: str
    distribution: str
    file: str
    content: bytes | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution}, {self.file})"


@attrs.frozen
class Failure:
    """A plugin that could not be used, and why. `trace` is the full traceback."""

    plugin: Plugin
    reason: str
    trace: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} is left out: {self.reason} (see `zoo plugins {self.plugin.name}` for the trace)"


@attrs.frozen
class Variant:
    """One registered alternative of a kind."""

    kind: str
    name: str
    factory: Callable[..., Any]
    options: type
    """The attrs class of its options, derived from the factory's signature."""
    given: tuple[str, ...]
    """What the factory asks for of all that its kind supplies."""
    plugin: Plugin
    registry: Registry = attrs.field(eq=False, repr=False)
    """Where the variants are that its options choose."""
    weights: Callable[[], Mapping[str, hookspecs.PublishedWeights]] | None = None
    """Tells which weights are published for an architecture."""

    @property
    def description(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def paper(self) -> str:
        """Where the factory's docstring says that the variant comes from; empty when it does not say."""
        paragraphs = (inspect.getdoc(self.factory) or "").split("\n\n")
        papers = (text for text in paragraphs if text.startswith("Paper:"))
        return " ".join(next(papers, "").removeprefix("Paper:").split())

    @property
    def changes_channels(self) -> bool:
        """Whether its layers may give another number of channels than they are given."""
        return may_change_channels(self.factory)

    def make(self, options: Mapping[str, Any], **supplied: Any) -> Any:
        """Call the factory with what it asks for of `supplied` and with the options.

        Raises:
            PluginError: it asks for what is not supplied, as where a variant of one kind makes one of another.
        """
        if hookspecs.MAKE in self.given:
            supplied = {**supplied, hookspecs.MAKE: partial(self._make_chosen, supplied)}
        try:
            given = {name: supplied[name] for name in self.given}
        except KeyError as error:
            raise PluginError(
                f"plugin {self.plugin}: the {self.kind} {self.name!r} asks for {error}, which whoever makes it does "
                "not give"
            ) from None
        return self.factory(**given, **options)

    def _make_chosen(self, supplied: Mapping[str, Any], choice: Choice, **own: Any) -> Any:
        """Make a variant that an option chose, from what this one was supplied with, its options, and what it gives."""
        options = {name: own.get(name, value) for name, value in choice.values().items()}
        others = {name: value for name, value in own.items() if name not in options}
        return self.registry.variant(choice.kind, choice.name).make(options, **{**supplied, **others})


@attrs.frozen
class Registered:
    """A spec or a study as its plugin gave it, not yet read: a mapping, or the path of a TOML file."""

    name: str
    source: Mapping[str, Any] | Path
    plugin: Plugin


class Registry:
    """All plugins and what they registered.

    Args:
        block: names of plugins, packages or distributions to leave out, besides those in ZOO_BLOCK.
        files: single-file plugins to load too, one or several. One that fails is an error, for it was named.
        strict: any failing plugin is an error.

    Attributes:
        arguments: what it was made with, so that another process can make the same.
        plugins: those in use.
        failures: those that were left out because they failed.
        problems: errors that forbid any work until they are mended; `require_sound` raises the first.
    """

    def __init__(
        self, *, block: str | Iterable[str] = (), files: str | Path | Iterable[str | Path] = (), strict: bool = False
    ) -> None:
        block = (block,) if isinstance(block, str) else tuple(block)
        files = tuple(map(Path, (files,) if isinstance(files, str | Path) else files))
        self.arguments: dict[str, Any] = {"block": block, "files": files, "strict": strict}
        from_environment = os.environ.get(BLOCK_VARIABLE, "").split(",")
        self._block = {name.strip() for name in (*block, *from_environment) if name.strip()}
        self._strict = strict
        self._manager = pluggy.PluginManager("zoo")
        self._manager.add_hookspecs(hookspecs)
        self._variants: dict[str, dict[str, Variant]] = {kind: {} for kind in KINDS}
        self._specs: dict[str, Registered] = {}
        self._studies: dict[str, Registered] = {}
        self._seen: set[str] = set()
        self.plugins: dict[str, Plugin] = {}
        self.failures: list[Failure] = []
        self.problems: list[ZooError] = []
        for plugin, load in _found():
            with torch_settings.kept():
                self._load(plugin, load)
        for file in dict.fromkeys(file.resolve() for file in files):
            with torch_settings.kept():
                self._load(*_single_file(file), asked_for=True)
        unknown = sorted(self._block - self._seen)
        if unknown:
            self.problems.append(
                UnknownNameError(
                    f"cannot leave out plugin {unknown[0]!r}: there is none{near_misses(unknown[0], self._seen)}"
                )
            )

    @property
    def hook(self) -> Any:
        """The hooks on what happens, to be called with what happened (pluggy's relay)."""
        return self._manager.hook

    def _load(self, plugin: Plugin, load: Callable[[], ModuleType], *, asked_for: bool = False) -> None:
        names = {plugin.name, *_packages(plugin.name), plugin.name.rpartition(".")[2], plugin.distribution}
        self._seen |= names
        if names & self._block:
            return
        before = self._variants, self._specs, self._studies
        self._variants = {kind: dict(variants) for kind, variants in self._variants.items()}
        self._specs, self._studies = dict(self._specs), dict(self._studies)
        modules, own = set(sys.modules), _replaced()
        try:
            if plugin.name in self.plugins:
                raise _FatalError(
                    f"two plugins are called {plugin.name!r}: {self.plugins[plugin.name]} and {plugin}. Rename one."
                )
            with _not_ending_the_process():
                module = load()
            plugin = attrs.evolve(plugin, content=_content(module, plugin.file))
            for name in sys.modules.keys() - modules:
                loaded.look(sys.modules[name])
            self._check_hook_names(plugin, module)
            self._manager.register(module, name=plugin.name)
            self._ask(plugin, module)
            if replaced := _replaced().keys() - own.keys():
                raise _FatalError(
                    f"plugin {plugin} replaces functions of torch by its own: {', '.join(sorted(replaced))}. "
                    "What every other variant computes would change. Mend it, or leave the plugin out with "
                    f"`-p no:{plugin.name}`."
                )
        except BaseException as error:  # a plugin may also call sys.exit
            if is_interruption(error):
                raise
            self._variants, self._specs, self._studies = before
            if plugin.name not in self.plugins and self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            reason = text_of(error) if isinstance(error, ZooError) else described(error)
            failure = Failure(plugin, reason, traceback.format_exc())
            self.failures.append(failure)
            if isinstance(error, _FatalError):
                self.problems.append(PluginError(reason))
            elif asked_for or self._strict:
                self.problems.append(PluginError(f"plugin {plugin} cannot be used: {reason}{_place(error, plugin)}"))
        else:
            self.plugins[plugin.name] = plugin

    def _check_hook_names(self, plugin: Plugin, module: ModuleType) -> None:
        """Refuse a marked function whose name is no hook (as pluggy's `check_pending` does), and a hook unmarked."""
        hooks = [name for name in vars(hookspecs) if name.startswith("zoo_")]
        for name in dir(module):
            marked = self._manager.parse_hookimpl_opts(module, name) is not None
            if not marked and name in hooks and inspect.isfunction(getattr(module, name)):
                raise PluginError(f"its function {name} is not marked as a hook: put @zoo.hookimpl above it")
            if marked and name not in hooks:
                raise _FatalError(
                    f"plugin {plugin} implements a hook that zoo does not have: {name}{near_misses(name, hooks)} "
                    f"Mend it, or leave the plugin out with `-p no:{plugin.name}`."
                )

    def _ask(self, plugin: Plugin, module: ModuleType) -> None:
        """Let one plugin register its variants, specs and studies."""
        others = [other for other in self._manager.get_plugins() if other is not module]
        for kind in KINDS.values():
            caller = self._manager.subset_hook_caller(kind.hook, others)
            caller(register=_register_for(plugin, kind.name, self))
        for hook, what, registered in (
            ("zoo_register_specs", "spec", self._specs),
            ("zoo_register_studies", "study", self._studies),
        ):
            self._manager.subset_hook_caller(hook, others)(register=_register_tree_for(plugin, what, registered))

    def require_sound(self) -> Registry:
        """Return this registry, or raise the first of its problems."""
        if self.problems:
            raise self.problems[0]
        return self

    def variants(self, kind: str) -> Mapping[str, Variant]:
        """Return all variants of a kind by name, in alphabetical order.

        Raises:
            UnknownNameError: there is no such kind.
        """
        if kind not in KINDS:
            raise UnknownNameError(
                f"no kind is called {kind!r}{near_misses(kind, KINDS)} The kinds are {', '.join(KINDS)}."
            )
        return dict(sorted(self._variants[kind].items()))

    def variant(self, kind: str, name: str) -> Variant:
        """Return one variant.

        Raises:
            UnknownNameError: nothing is registered under that name; names the nearest and any plugin that failed.
        """
        variants = self.variants(kind)
        if name not in variants:
            raise self._unknown(kind, name, variants)
        return variants[name]

    def make(self, choice: Choice, **supplied: Any) -> Any:
        """Call the factory of the chosen variant."""
        return self.variant(choice.kind, choice.name).make(choice.values(), **supplied)

    @property
    def layer_kind_plugins(self) -> list[Plugin]:
        """The plugins that say which layers are of which kind."""
        return [self.plugins[one.plugin_name] for one in self.hook.zoo_layer_kinds.get_hookimpls()]

    def layer_kinds(self) -> Mapping[str, tuple[type | str, ...]]:
        """Return what counts as a layer of each kind that can be replaced: classes, and names of functions.

        Raises:
            PluginError: a plugin's hook raised, or returned something else; names it.
        """
        known: dict[str, tuple[type | str, ...]] = dict.fromkeys(hookspecs.REPLACED, ())
        for one in self.hook.zoo_layer_kinds.get_hookimpls():
            what = f"plugin {self.plugins[one.plugin_name]}: its hook zoo_layer_kinds"
            for kind, layers in _layer_kinds(_told(one.function, what), what).items():
                known[kind] += layers
        return known

    def published_weights(self, architecture: str) -> Mapping[str, hookspecs.PublishedWeights]:
        """Return the weights that are published for an architecture, by name.

        Raises:
            UnknownNameError: there is no such architecture.
            PluginError: its plugin raised, or returned something else; names it.
        """
        variant = self.variant("architecture", architecture)
        if variant.weights is None:
            return {}
        what = f"plugin {variant.plugin}: what tells the weights of {architecture}"
        told = _told(variant.weights, what)
        published = hookspecs.PublishedWeights
        if not isinstance(told, Mapping) or not all(isinstance(file, published) for file in told.values()):
            raise PluginError(f"{what} must return a mapping from names to zoo.PublishedWeights, not {told!r:.80}")
        return told

    @property
    def specs(self) -> Mapping[str, Registered]:
        """All registered specs by name, each plugin's in the order in which it registered them."""
        return self._specs

    def spec(self, name: str) -> Registered:
        """Return one registered spec.

        Raises:
            UnknownNameError: nothing is registered under that name.
        """
        if name not in self._specs:
            raise self._unknown("spec", name, self._specs)
        return self._specs[name]

    @property
    def studies(self) -> Mapping[str, Registered]:
        """All registered studies by name, each plugin's in the order in which it registered them."""
        return self._studies

    def study(self, name: str) -> Registered:
        """Return one registered study.

        Raises:
            UnknownNameError: nothing is registered under that name.
        """
        if name not in self._studies:
            raise self._unknown("study", name, self._studies)
        return self._studies[name]

    def _unknown(self, kind: str, name: str, known: Mapping[str, object]) -> UnknownNameError:
        command = "zoo study list" if kind == "study" else f"zoo list --kind {kind}"
        text = f"no {kind} is called {name!r}{near_misses(name, known)} `{command}` shows all {len(known)}."
        failed = [f"\nIt may be in one that failed to load: {failure}" for failure in self.failures]
        return UnknownNameError(text + "".join(failed))


def _replaced() -> Mapping[str, object]:
    """Return what stands in the place of torch's functions, where torch is imported."""
    return torch_settings.replaced_functions() if "torch" in sys.modules else {}


@contextmanager
def _not_ending_the_process() -> Iterator[None]:
    """Let os._exit, which ends the process that imports a plugin without a word, be an error of that plugin's.

    A process that the plugin forks may still end so.
    """
    leave, process = os._exit, os.getpid()

    def refuse(code: int) -> NoReturn:
        if os.getpid() != process:
            leave(code)
        raise PluginError(f"it ends the process as it is imported, by os._exit({code})")

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


def _told(ask: Callable[[], Any], what: str) -> Any:
    """Return what a plugin tells, with torch's settings as they were.

    Raises:
        PluginError: it raised.
    """
    try:
        with torch_settings.kept():
            return ask()
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error):
            raise
        raise PluginError(f"{what} raised {described(error)}") from error


def _layer_kinds(told: object, what: str) -> dict[str, tuple[type | str, ...]]:
    """Return what a hook told, if it is what it promises.

    Raises:
        PluginError: it is not.
    """
    if not isinstance(told, Mapping):
        raise PluginError(f"{what} must return a mapping from kinds to tuples, not {told!r:.80}")
    for kind, layers in told.items():
        if kind not in hookspecs.REPLACED:
            near = near_misses(str(kind), hookspecs.REPLACED)
            raise PluginError(
                f"{what} tells layers of the kind {kind!r}{near} It can be one of {', '.join(hookspecs.REPLACED)}."
            )
        if not isinstance(layers, tuple | list) or not all(isinstance(layer, type | str) for layer in layers):
            raise PluginError(f"{what} must return classes and names of functions for {kind}, not {layers!r:.80}")
    return {kind: tuple(layers) for kind, layers in told.items()}


_contents: dict[str, tuple[object, bytes]] = {}
"""Of the files of plugins, what they held when they were loaded, with the module's spec, which a reload replaces."""


def _content(module: ModuleType, file: str) -> bytes | None:
    """Return what a plugin's file held when it was loaded: now, unless that was noted before."""
    spec = getattr(module, "__spec__", None)
    if file not in _contents or _contents[file][0] is not spec:
        try:
            _contents[file] = spec, Path(file).read_bytes()
        except OSError:
            return None
    return _contents[file][1]


def _packages(module: str) -> list[str]:
    """Return the packages that a module is in: "a" and "a.b" for "a.b.c"."""
    steps = module.split(".")
    return [".".join(steps[:depth]) for depth in range(1, len(steps))]


def _place(error: BaseException, plugin: Plugin) -> str:
    """Say at which line of the plugin's own file the error was raised, where that is known."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == plugin.file]
    return f" (line {frames[-1].lineno})" if frames else ""


class _FatalError(PluginError):
    """A fault of a plugin that stops all work, because which of two meanings holds cannot be known."""


def _check_kinds(what: str, options: type) -> None:
    """See that options choose from kinds that there are.

    Raises:
        PluginError: one does not.
    """
    for option in attrs.fields(options):
        for chosen in kinds_in(option.type):
            if chosen not in KINDS:
                raise PluginError(
                    f"{what}: option {option.name!r} chooses from the kind {chosen!r}, which there is not"
                    f"{near_misses(chosen, KINDS)} It can be one of {', '.join(KINDS)}."
                )


def _register_for(plugin: Plugin, kind: str, registry: Registry) -> hookspecs.RegisterArchitecture:
    variants = registry._variants[kind]
    derived: dict[object, tuple[type, tuple[str, ...]]] = {}

    def register(
        name: str,
        factory: Callable[..., Any],
        weights: Callable[[], Mapping[str, hookspecs.PublishedWeights]] | None = None,
    ) -> None:
        _check_name(kind, name)
        if name in variants:
            raise _taken(kind, name, variants[name].plugin, plugin)
        # Of factories that are made in a loop, a thousand models say, the signature is read once.
        key = _signature(factory)
        found = derived.get(key) or options_class(f"{kind} {name!r}", factory, KINDS[kind].given, KINDS[kind].asked)
        if key is not None:
            derived[key] = found
        cls, given = found
        _check_kinds(f"{kind} {name!r}", cls)
        if weights is not None and kind != "architecture":
            raise PluginError(f"{kind} {name!r}: only an architecture has weights")
        if may_change_channels(factory) and not KINDS[kind].may_change_channels:
            kinds = " or ".join(other.name for other in KINDS.values() if other.may_change_channels)
            raise PluginError(f"{kind} {name!r}: it is marked with zoo.changes_channels, which is for {kinds} only")
        variants[name] = Variant(kind, name, factory, cls, given, plugin, registry, weights)

    return register


def _signature(factory: object) -> object:
    """Return what tells the signatures of functions apart that are made by one `def`; None for anything else."""
    if not inspect.isfunction(factory) or vars(factory).keys() & {"__wrapped__", "__signature__"}:
        return None
    stated = (
        *(factory.__defaults__ or ()),
        *(factory.__kwdefaults__ or {}).values(),
        *factory.__annotations__.values(),
    )
    return id(factory.__code__), tuple(map(id, stated))  # all of which live as long as the factory does


def _register_tree_for(
    plugin: Plugin, what: str, registered: dict[str, Registered]
) -> Callable[[str, Mapping[str, Any] | Path], None]:
    def register(name: str, tree: Mapping[str, Any] | Path) -> None:
        _check_name(what, name)
        if name in registered:
            raise _taken(what, name, registered[name].plugin, plugin)
        if not isinstance(tree, Mapping | Path):
            raise PluginError(f"{what} {name!r}: expected a mapping or the pathlib.Path of a TOML file, got {tree!r}")
        registered[name] = Registered(name, tree, plugin)

    return register


def _check_name(kind: str, name: object) -> None:
    allowed = "/-_." if kind in ("spec", "study") else "_"
    if not isinstance(name, str) or not name or not all(c.isalnum() or c in allowed for c in name):
        raise PluginError(f"{kind}: {name!r} is not a name; use letters, digits and {' '.join(allowed)}")


def _taken(kind: str, name: str, first: Plugin, second: Plugin) -> PluginError:
    if first == second:
        return PluginError(f"it registers the {kind} {name!r} twice")
    return _FatalError(
        f"two plugins register the {kind} {name!r}: {first} and {second}. Rename one, or leave one plugin out "
        f"with `-p no:{second.name}` (or `-p no:{first.name}`)."
    )


def _found() -> Iterable[tuple[Plugin, Callable[[], ModuleType]]]:
    """Find the plugins of all installed distributions, with how to load each; one that is named twice is found once."""
    found: dict[str, tuple[Plugin, Callable[[], ModuleType]]] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        distribution = point.dist.name if point.dist else "unknown distribution"
        try:
            location = importlib.util.find_spec(point.module)
        except (Exception, SystemExit):  # of a parent package; loading the plugin itself reports it
            location = None
        file = location.origin if location and location.origin else point.value
        found.setdefault(point.value, (Plugin(point.value, distribution, file), point.load))
        if location is None or point.attr:
            continue
        for path in location.submodule_search_locations or ():
            for module in pkgutil.iter_modules([path]):
                if not module.name.startswith("_"):
                    name = f"{point.value}.{module.name}"
                    place = Path(path, module.name)
                    place = place / "__init__.py" if module.ispkg else place.with_suffix(".py")
                    plugin = Plugin(name, distribution, str(place))
                    found.setdefault(name, (plugin, partial(importlib.import_module, name)))
    return found.values()


def _single_file(file: Path) -> tuple[Plugin, Callable[[], ModuleType]]:
    def load() -> ModuleType:
        if (character := not_in_a_name(file.stem)) is not None:
            raise PluginError(f"its name holds {character}, which is no text; rename it")
        if not file.is_file():
            raise PluginError(f"there is no file {file}")
        # Not the stem alone, which may be the name of a module: torch.py must not take torch's place.
        spec = importlib.util.spec_from_file_location(f"zoo_single_file_{file.stem}", file)
        if file.suffix != ".py" or spec is None or spec.loader is None:
            raise PluginError(f"{file} is not a Python file: a single-file plugin ends in .py")
        module = importlib.util.module_from_spec(spec)
        # So that what it defines can be pickled.
        sys.modules[module.__name__] = module
        # From the bytes that are noted, and not from what Python compiled before, which it tells by time and size.
        content = file.read_bytes()
        exec(compile(content, str(file), "exec", dont_inherit=True), module.__dict__)
        _contents[str(file)] = spec, content
        return module

    return Plugin(file.stem, SINGLE_FILE, str(file)), load


@cache
def default_registry() -> Registry:
    """Return the registry of all installed plugins, loaded once for each process."""
    return Registry().require_sound()
