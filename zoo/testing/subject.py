"""What is checked: a registered variant with what its kind supplies, or a registered spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from zoo.errors import SpecError, text_of
from zoo.execution.contract import Work
from zoo.network.builder import Shape, construct
from zoo.registry import Plugin, Registered, Registry, Variant
from zoo.registry.hookspecs import KINDS
from zoo.spec import Spec, read_as, structure, unstructure
from zoo.testing.check import FailedError, SkippedError, raised
from zoo.testing.declared import declared
from zoo.train import streams

LAYERS = ("activation", "normalization", "dropout", "filter", "pooling", "block")
"""The kinds whose factories make a layer."""
FILTERS = 6
CLASSES = 4
_MAPS: tuple[Shape, ...] = ((3, 8, 8), (16, 7, 5))
_UNITS: tuple[Shape, ...] = ((10,),)
_IN_CLASSIFIER = ("activation", "normalization", "dropout")


@attrs.frozen(slots=False)
class VariantSubject:
    """A variant. `use` makes its factory do its work once, on what its kind supplies."""

    variant: Variant
    registry: Registry

    @property
    def kind(self) -> str:
        """The variant's kind."""
        return self.variant.kind

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.variant.name

    @property
    def plugin(self) -> Plugin:
        """The plugin that registered it."""
        return self.variant.plugin

    @property
    def declared(self) -> Mapping[str, str]:
        """Why it is expected to fail checks, by their names."""
        return declared(self.variant.factory)

    def options(self, **given: Any) -> dict[str, Any]:
        """Return the options as the factory takes them, defaults included.

        Raises:
            SpecError: they are not valid.
        """
        return attrs.asdict(read_as(self.variant.options, given, str(self), self.registry), recurse=False)

    def make(self, options: Mapping[str, Any] | None = None, **supplied: Any) -> Any:
        """Call the factory, with its defaults where no options are given.

        Raises:
            SkippedError: the defaults are not valid.
        """
        if options is None:
            try:
                options = self.options()
            except SpecError as error:
                raise SkippedError("its defaults are not valid; see options_read") from error
        return self.variant.make(options, **supplied)

    def use(self, options: Mapping[str, Any]) -> None:
        """Let the factory do its work once with these options."""
        with streams.seeded(0, "check"):
            self.make(options, **supplied(self.kind))

    def network_spec(self) -> Spec:
        """Return the spec of a small network that uses the variant.

        Raises:
            SkippedError: the variant's defaults are not valid, or what the network needs besides is not registered.
        """
        try:
            return structure(_network_tree(self.kind, self.name), str(self), self.registry)
        except SpecError as error:
            raise SkippedError(f"there is no valid spec with it: {error}") from error

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.frozen(slots=False)
class LayerSubject(VariantSubject):
    """A variant whose factory makes a layer."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What it is tried on."""
        return _MAPS + _UNITS if self.kind in _IN_CLASSIFIER else _MAPS

    @cached_property
    def tried(self) -> Mapping[Shape, Exception | None]:
        """What building and running it at each shape raised."""
        return {shape: self._tried(shape) for shape in self.shapes}

    def _tried(self, shape: Shape) -> Exception | None:
        case = Case(self, shape)
        try:
            module = case.build()
            if not isinstance(module, nn.Module):
                raise FailedError(f"its factory returned {module!r}, which is no torch.nn.Module")
            output = applied(module, case.batch())
            if not isinstance(output, Tensor):
                raise FailedError(f"its forward returned {type(output).__name__}, not one tensor")
        except SkippedError:
            raise
        except Exception as error:
            return error
        return None

    @property
    def cases(self) -> tuple[Case, ...]:
        """The layer at each shape that it accepts.

        Raises:
            SkippedError: it accepts none.
        """
        cases = tuple(Case(self, shape) for shape, error in self.tried.items() if error is None)
        if not cases:
            raise SkippedError("it could be built and run for no shape; see builds")
        return cases

    @property
    def runs(self) -> Iterator[tuple[Case, bool]]:
        """Each case in training and in evaluation."""
        for case in self.cases:
            yield case, True
            yield case, False

    def use(self, options: Mapping[str, Any]) -> None:
        """Build the layer with these options and let it evaluate a batch."""
        case = self.cases[0]
        applied(case.build(training=False, options=options), case.batch())

    def build(self, shape: Shape, options: Mapping[str, Any] | None) -> Any:
        """Call the factory; a block is given parts by a builder."""
        if self.kind != "block":
            return self.make(options, shape=shape, filters=FILTERS)
        stated = {name: unstructure(value) for name, value in (self.options() if options is None else options).items()}
        tree = _network_tree("block", self.name, stated)
        built = construct(
            structure(tree, str(self), self.registry), _maps(shape), CLASSES, seed=0, registry=self.registry
        )
        return built.network.get_submodule("features.0")


@attrs.frozen
class Case:
    """A layer at a shape."""

    layer: LayerSubject
    shape: Shape

    def build(
        self,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        training: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        """Build the layer with starting weights of a seed."""
        with streams.seeded(seed, "check", "initialization"):
            module: nn.Module = self.layer.build(self.shape, options)
        return module.to(dtype).train(training) if isinstance(module, nn.Module) else module

    def batch(self, *, seed: int = 1, dtype: torch.dtype = torch.float32, count: int = 4) -> Tensor:
        """Draw a batch of standard normal numbers."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)

    def __str__(self) -> str:
        return "at " + "x".join(map(str, self.shape))


@attrs.frozen(slots=False)
class ExecutorSubject(VariantSubject):
    """A variant that trains runs."""

    def events(self, work: Work, options: Mapping[str, Any] | None = None) -> Any:
        """Return the iterator of what it tells of its work."""
        return self.make(options, work=work)

    def use(self, options: Mapping[str, Any]) -> None:
        """Let it train nothing with these options."""
        for _ in self.events(Work(runs=iter(()), registry=self.registry), options):
            pass


@attrs.frozen
class SpecSubject:
    """A registered spec."""

    registered: Registered
    registry: Registry
    kind: str = "spec"
    declared: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.registered.name

    @property
    def plugin(self) -> Plugin:
        """The plugin that registered it."""
        return self.registered.plugin

    def __str__(self) -> str:
        return f"spec {self.name}"


Subject = VariantSubject | SpecSubject


def subjects(registry: Registry) -> list[Subject]:
    """Return all that is registered and can be checked."""
    variants = (variant for kind in KINDS for variant in registry.variants(kind).values())
    specs = (SpecSubject(registered, registry) for registered in registry.specs.values())
    return [*(variant_subject(variant, registry) for variant in variants), *specs]


def variant_subject(variant: Variant, registry: Registry) -> VariantSubject:
    """Return a variant as what is checked."""
    if variant.kind == "executor":
        return ExecutorSubject(variant, registry)
    return (LayerSubject if variant.kind in LAYERS else VariantSubject)(variant, registry)


def applied(module: nn.Module, x: Tensor, *, seed: int = 2) -> Any:
    """Run a layer, with torch's global generator at a known place."""
    with streams.seeded(seed, "check", "forward"):
        return module(x)


def mode(training: bool) -> str:
    """Name a mode."""
    return "in training" if training else "in evaluation"


def same(actual: Tensor, expected: Tensor, found: str, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Require that two tensors have the same shape, type and numbers.

    Raises:
        FailedError: they have not; with how much they differ.
    """
    try:
        # NaN equals NaN: that there is one is said by the check `finite` only.
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    except AssertionError as error:
        raise FailedError(f"{found}: {' '.join(text_of(error).split())}") from None


def attempt(work: Callable[[], Any], found: str) -> Any:
    """Return what some work returns, and say what was tried where it raises.

    Raises:
        FailedError: it raised.
    """
    try:
        return work()
    except (SkippedError, FailedError):
        raise
    except Exception as error:
        raise FailedError(f"{found} {raised(error)}") from error


def supplied(kind: str) -> dict[str, Any]:
    """Return an example of what a kind supplies to the factories of its variants."""
    generator = torch.Generator().manual_seed(1)
    if kind == "initializer":
        return {"weight": torch.zeros(16, 8, 3, 3)}
    if kind == "optimizer":
        return {"parameters": [nn.Parameter(torch.randn(3, 4, generator=generator))]}
    if kind == "schedule":
        return {"progress": 0.5}
    if kind == "loss":
        return {
            "logits": torch.randn(8, CLASSES, generator=generator, requires_grad=True),
            "labels": torch.arange(8) % CLASSES,
        }
    if kind == "augmentation":
        images = torch.rand(8, 3, 32, 32, generator=generator)
        return {"images": images, "generator": streams.generator("cpu", 0, "check")}
    return {}


def _maps(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def _network_tree(kind: str, name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return, as plain data, a spec of one block, with the variant in its kind's place."""
    choice = {"name": name, **(options or {})}
    block: dict[str, Any] = {
        "filters": FILTERS if kind == "block" else 16,
        "filter": {"name": "conv", "padding": "same"},
    }
    if kind == "block":
        # So that a block that does not pass on its mode, or does not register its parts, is seen.
        block["normalization"] = "batch"
    training: dict[str, Any] = {"epochs": 1, "batch_size": 8}
    network: dict[str, Any] = {"features": [block]}
    if kind in LAYERS:
        block[kind] = choice
    elif kind == "initializer":
        network[kind] = choice
    else:
        training[kind] = [choice] if kind == "augmentation" else choice
    return {"network": network, "training": training, "data": {"dataset": "check"}}
