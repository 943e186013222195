"""What is checked: a registered variant with what its kind supplies, or a registered spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from zoo.errors import BuildError, SpecError, text_of
from zoo.execution.contract import Work
from zoo.network.builder import Shape, construct
from zoo.registry import Plugin, Registered, Registry, Variant
from zoo.registry.hookspecs import KINDS
from zoo.spec import Spec, read_as, structure, unstructure
from zoo.testing.check import FailedError, SkippedError, raised
from zoo.testing.declared import declared, stated_shapes
from zoo.train import streams
from zoo.train.augmenting import VIEWS

LAYERS = ("activation", "normalization", "dropout", "filter", "pooling", "block")
"""The kinds whose factories make a layer."""
CLASSES = 4
_MAPS: tuple[Shape, ...] = ((3, 8, 8), (16, 7, 5))
_UNITS: tuple[Shape, ...] = ((10,),)
_FILTERS = 6
_FURTHER_MAPS: tuple[Shape, ...] = ((64, 8, 8), (3, 32, 32), (96, 14, 14), (3, 64, 64), (512, 7, 7), (3, 224, 224))
"""Where none of those fits: channels for heads and groups, maps for windows and for whole networks."""
_FURTHER_UNITS: tuple[Shape, ...] = ((64,), (96,), (512,))
_FURTHER_FILTERS = (16, 64, 96, 256, 512, 768, 1024, 2048)
_IMAGES: tuple[Shape, ...] = ((3, 32, 32), (1, 8, 8), (3, 64, 64), (3, 96, 96), (3, 224, 224))
"""Sizes of image of which an architecture takes one."""
_ROUNDING = 1e-5
"""Of the largest number: a hundred times what a number of float32 is rounded by."""
_IN_CLASSIFIER = ("activation", "normalization", "dropout")
_WITH_FILTERS = ("filter", "block")


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
        # As they are used: what changes weights or gradients in place is called without gradients.
        with streams.seeded(0, "check"), torch.set_grad_enabled(self.kind not in ("initializer", "gradient")):
            self.make(options, **supplied(self.kind))

    def network_spec(self) -> Spec:
        """Return the spec of a small network that uses the variant.

        Raises:
            SkippedError: the variant's defaults are not valid, or what the network needs besides is not registered.
        """
        needs_views = self.kind == "loss" and VIEWS in self.variant.given
        gives_views = self.kind == "augmentation" and self._default(VIEWS) not in (None, 1)
        tree = _network_tree(self.kind, self.name, needs_views=needs_views, gives_views=gives_views)
        return self._structured(tree)

    def _default(self, option: str) -> Any:
        """Return the default of an option; None where there is no such option."""
        field = attrs.fields_dict(self.variant.options).get(option)
        return None if field is None else field.default

    @property
    def image_shape(self) -> Shape:
        """The shape of the images of that network."""
        return 3, 12, 12

    def _structured(self, tree: Mapping[str, Any]) -> Spec:
        try:
            return structure(tree, str(self), self.registry)
        except SpecError as error:
            raise SkippedError(f"there is no valid spec with it: {error}") from error

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.frozen(slots=False)
class ArchitectureSubject(VariantSubject):
    """A variant whose factory makes a whole network."""

    @cached_property
    def tried(self) -> Mapping[Shape, Exception | None]:
        """What building and running it raised for images of several sizes, up to the first that it takes.

        Raises:
            FailedError: it makes no network.
        """
        found: dict[Shape, Exception | None] = {}
        for shape in _IMAGES:
            found[shape] = self._tried_at(shape)
            if found[shape] is None:
                break
        return found

    def _tried_at(self, shape: Shape) -> Exception | None:
        try:
            network = self.network(shape)
            with torch.no_grad():
                applied(network.eval(), self.images(shape))
        except (SkippedError, FailedError):
            raise
        except Exception as error:
            return error
        return None

    @property
    def accepted(self) -> Shape:
        """The first size of image that it takes.

        Raises:
            SkippedError: it takes none.
        """
        for shape, error in self.tried.items():
            if error is None:
                return shape
        raise SkippedError("it could be built and run for no images; see builds")

    @property
    def image_shape(self) -> Shape:
        """The shape of the images that it is trained on: small ones where it takes them."""
        small = super().image_shape
        return small if self._tried_at(small) is None else self.accepted

    def network(self, shape: Shape) -> nn.Module:
        """Build it for images of a shape.

        Raises:
            FailedError: it made something else.
        """
        with streams.seeded(0, "check"):
            made = self.make(input_shape=shape, classes=CLASSES, load=None)
        if not isinstance(made, nn.Module):
            raise FailedError(f"its factory returned {made!r}, which is no torch.nn.Module")
        return made

    @staticmethod
    def images(shape: Shape) -> Tensor:
        """Return two random images."""
        return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


@attrs.frozen(slots=False)
class LayerSubject(VariantSubject):
    """A variant whose factory makes a layer."""

    @cached_property
    def tried(self) -> Mapping[Case, Exception | None]:
        """What building and running it raised: at the shapes it says it is for, else at usual ones.

        Where all of these are refused, one that fits is searched among others.
        """
        stated = stated_shapes(self.variant.factory)
        if stated is not None:
            return self._tried_at(stated.shapes, (stated.filters or _FILTERS,))
        found = self._tried_or_searched(_MAPS, _FURTHER_MAPS)
        if self.kind in _IN_CLASSIFIER:
            found |= self._tried_or_searched(_UNITS, _FURTHER_UNITS)
        return found

    def _tried_or_searched(self, usual: Sequence[Shape], further: Sequence[Shape]) -> dict[Case, Exception | None]:
        found = self._tried_at(usual, (_FILTERS,))
        if all(map(is_refusal, found.values())):
            filters = (_FILTERS, *_FURTHER_FILTERS) if self.kind in _WITH_FILTERS else (_FILTERS,)
            cases = (Case(self, shape, count) for shape in (*usual, *further) for count in filters)
            fitting = next((case for case in cases if case not in found and case.try_out() is None), None)
            found |= {} if fitting is None else {fitting: None}
        return found

    def _tried_at(self, shapes: Sequence[Shape], filters: Sequence[int]) -> dict[Case, Exception | None]:
        cases = [Case(self, shape, count) for shape in shapes for count in filters]
        return {case: case.try_out() for case in cases}

    @property
    def cases(self) -> tuple[Case, ...]:
        """The layer at each shape that it accepts.

        Raises:
            SkippedError: it accepts none.
        """
        cases = tuple(case for case, error in self.tried.items() if error is None)
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

    def network_spec(self) -> Spec:
        """Return the spec of a small network with it, for images of `image_shape`."""
        return self._structured(_network_tree(self.kind, self.name, case=self._in_network))

    @property
    def image_shape(self) -> Shape:
        """The shape of the images of that network."""
        case = self._in_network
        if len(case.shape) == 1:
            return _MAPS[0]
        return case.shape if self.kind in _WITH_FILTERS else (3, *case.shape[1:])

    @property
    def _in_network(self) -> Case:
        """Where it stands in the small network: where most channels are, in maps if it takes them."""
        return max(self.cases, key=lambda case: (len(case.shape), case.shape[0]))


@attrs.frozen
class Case:
    """A layer at a shape; `filters` is how many channels it gives if it is a filter, or a block's filter."""

    layer: LayerSubject
    shape: Shape
    filters: int = _FILTERS

    def try_out(self) -> Exception | None:
        """Return what building and running it raised."""
        try:
            module = self.build()
            if not isinstance(module, nn.Module):
                raise FailedError(f"its factory returned {module!r}, which is no torch.nn.Module")
            output = applied(module, self.batch())
            if not isinstance(output, Tensor):
                raise FailedError(f"its forward returned {type(output).__name__}, not one tensor")
        except SkippedError:
            raise
        except Exception as error:
            return error
        return None

    def make(self, options: Mapping[str, Any] | None = None) -> Any:
        """Call the factory; a block is given parts by a builder."""
        layer = self.layer
        if layer.kind != "block":
            return layer.make(options, shape=self.shape, filters=self.filters, index=1, count=3)
        stated = {name: unstructure(value) for name, value in (layer.options() if options is None else options).items()}
        spec = structure(_network_tree("block", layer.name, stated, self), str(layer), layer.registry)
        built = construct(spec, _maps(self.shape), CLASSES, seed=0, registry=layer.registry)
        return built.network.get_submodule("features.0")

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
            module: nn.Module = self.make(options)
        return module.to(dtype).train(training) if isinstance(module, nn.Module) else module

    def batch(self, *, seed: int = 1, dtype: torch.dtype = torch.float32, count: int = 4) -> Tensor:
        """Draw a batch of standard normal numbers."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)

    @property
    def size(self) -> str:
        """The shape in words."""
        size = "x".join(map(str, self.shape))
        return size if self.filters == _FILTERS else f"{size} with {self.filters} filters"

    def __str__(self) -> str:
        return f"at {self.size}"


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
    if variant.kind == "architecture":
        return ArchitectureSubject(variant, registry)
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


def same_but_rounding(actual: Tensor, expected: Tensor, found: str) -> None:
    """Require the same numbers of two ways of computing them that may add in another order, beside the largest of them.

    Raises:
        FailedError: they are not; with how much they differ.
    """
    finite = expected.detach()[expected.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    same(actual, expected, found, atol=_ROUNDING * max(largest, 0.1))


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
    if kind == "architecture":
        return {"input_shape": (3, 32, 32), "classes": CLASSES, "load": None}
    if kind == "initializer":
        module = nn.Conv2d(8, 16, 3)
        nn.init.zeros_(module.weight)
        return for_initializer(module, (8, 12, 12))
    if kind == "optimizer":
        parameters = [nn.Parameter(torch.randn(3, 4, generator=generator))]
        return {"parameters": parameters, "network": nn.ParameterList(parameters), "steps": 100, "steps_per_epoch": 10}
    if kind == "gradient":
        parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3, 3, 3), (5, 4), (5,))]
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        return {"parameters": parameters, "names": ["filter.weight", "output.weight", "output.bias"]}
    if kind == "schedule":
        return {"progress": 0.5, "validation": (0.5, 0.75, 0.75), "steps": 100}
    if kind == "loss":
        logits = torch.randn(8, CLASSES, generator=generator, requires_grad=True)
        return for_loss(logits, torch.arange(8) % CLASSES, torch.arange(1.0, 1 + CLASSES))
    if kind == "augmentation":
        return for_augmentation((8, 3, 32, 32), generator)
    if kind == "prediction":
        weight = torch.randn(3 * 12 * 12, CLASSES, generator=generator)
        return {"forward": lambda x: x.flatten(1) @ weight, "images": torch.rand(8, 3, 12, 12, generator=generator)}
    if kind == "averaging":
        numbers = [torch.randn(shape, generator=generator) for shape in ((3, 4), (), (8,)) for _ in range(2)]
        given = {"average": numbers[::2], "weights": numbers[1::2]}
        return {**given, "step": torch.tensor(8), "steps": 10, "steps_per_epoch": 4}
    return {}


def for_initializer(module: nn.Conv2d | nn.Linear, shape: Shape) -> dict[str, Any]:
    """Return what an initializer is given for the weight of a layer, as it is built; `shape` is what reaches that."""
    with streams.seeded(1, "check"):
        images = torch.randn(16, *shape)
    given = {"weight": module.weight, "module": module, "name": "features.0.filter.weight", "role": "filter"}
    return {**given, "images": images}


def for_loss(logits: Tensor, labels: Tensor, class_sizes: Tensor) -> dict[str, Any]:
    """Return what a loss is given; of other views of the images the logits are those of the first, some sharper."""
    views = torch.stack([logits, logits * 0.5, logits * 2])
    return {"logits": logits, "views": views, "labels": labels, "class_sizes": class_sizes}


def for_augmentation(shape: Shape, generator: torch.Generator) -> dict[str, Any]:
    """Return what the augmentation of a batch of random images is given."""
    labels = torch.arange(shape[0]) % CLASSES
    return {
        "images": torch.rand(shape, generator=generator),
        "labels": torch.eye(CLASSES)[labels],
        "indices": torch.arange(shape[0]),
        "epoch": torch.tensor(1),
        "generator": streams.generator("cpu", 0, "check"),
    }


def _maps(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def _network_tree(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    case: Case | None = None,
    *,
    needs_views: bool = False,
    gives_views: bool = False,
) -> dict[str, Any]:
    """Return, as plain data, a spec of one block with the variant in it; a layer is there at the case's shape."""
    choice = {"name": name, **(options or {})}
    block: dict[str, Any] = {"filters": 16, "filter": {"name": "conv", "padding": "same"}}
    training: dict[str, Any] = {"epochs": 1, "batch_size": 8}
    network: dict[str, Any] = {"features": [block]}
    if kind == "block":
        # So that a block that does not pass on its mode, or does not register its parts, is seen.
        block["normalization"] = "batch"
    if case is not None and len(case.shape) == 1:
        network["classifier"] = [{"units": case.shape[0], kind: choice}]
    elif case is not None:
        block["filters"] = case.filters if kind in _WITH_FILTERS else case.shape[0]
        block[kind] = choice
    elif kind == "initializer":
        network[kind] = choice
    elif kind == "architecture":
        network = {kind: choice}
    elif kind != "prediction":
        if needs_views:
            training["augmentation"] = [{"name": "augmix", "views": 3}]
        if gives_views:
            training["loss"] = "jensen_shannon"
        training[kind] = [choice] if kind in ("augmentation", "gradient") else choice
    evaluation = {kind: choice} if kind == "prediction" else {}
    return {"network": network, "training": training, "data": {"dataset": "check"}, "evaluation": evaluation}


def is_refusal(error: Exception | None) -> bool:
    """Whether a layer that raised it said that a shape or an option does not fit: a block's is told by a builder."""
    return isinstance(error, ValueError | BuildError)
