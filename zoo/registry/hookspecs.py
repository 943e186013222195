"""The hooks that a plugin may implement: one for each kind of variant, and those on what happens.

Implement a hook by giving a function its name and marking it with `zoo.hookimpl`; leave out the arguments
that it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.train.run import EpochRecord, Run

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


class Register(Protocol):
    """Registers one variant: `register("leaky_relu", leaky_relu)`."""

    def __call__(self, name: str, factory: Callable[..., Any]) -> None:
        """Register `factory` under `name`.

        The factory's parameters that its kind supplies (see `KINDS`) are passed by name; all others are the
        variant's options, each with a type annotation and a default. The first line of its docstring is the
        variant's description; a line that begins with "Paper:" names where it comes from.
        """


@attrs.frozen
class PublishedWeights:
    """A file with weights that the makers of an architecture publish.

    zoo downloads none: it says where the file can be had, and where it is looked for.

    Attributes:
        file: where it is looked for.
        url: where it can be had.
        read: returns what the file holds by the names that tensors have in the network; it is given the path.
        sha256: how the SHA-256 of its content begins, as far as that is published.
    """

    file: Path
    url: str
    read: Callable[[Path], Mapping[str, Tensor]]
    sha256: str = ""


class RegisterArchitecture(Protocol):
    """Registers one architecture: `register("resnet18", resnet18, weights=published)`."""

    def __call__(
        self,
        name: str,
        factory: Callable[..., Any],
        weights: Callable[[], Mapping[str, PublishedWeights]] | None = None,
    ) -> None:
        """Register `factory` under `name`, as `Register` does.

        `weights` returns the weights that are published for it, by name. It is called when a spec names one of them,
        so it may import torch.
        """


class RegisterSpec(Protocol):
    """Registers one spec: `register("mine/wide", {"base": "starter/default", "set": {...}})`."""

    def __call__(self, name: str, spec: Mapping[str, Any] | Path) -> None:
        """Register a spec: a mapping of the form in docs/reference/specs.md, or the path of a TOML file."""


class RegisterStudy(Protocol):
    """Registers one study: `register("mine", {"base": "starter/default", "changes": {...}})`."""

    def __call__(self, name: str, study: Mapping[str, Any] | Path) -> None:
        """Register a study: a mapping of the form in docs/reference/studies.md, or the path of a TOML file."""


@attrs.frozen
class VariantKind:
    """A slot that variants fill.

    `given` names what a factory of this kind may ask for, and `asked` what it may ask for by a parameter without a
    default: with one, it is an option of that name. `purpose` is one line for people.
    """

    name: str
    hook: str
    given: tuple[str, ...]
    purpose: str
    in_specs: bool = True
    """Whether specs choose variants of it."""
    asked: tuple[str, ...] = ()
    may_change_channels: bool = False
    """Whether a factory may say that its layers do so (`changes_channels`), where the kind keeps the channels."""


_KINDS = [
    VariantKind(
        "activation",
        "zoo_register_activations",
        ("shape",),
        "nonlinearity after a filter or a dense layer",
        may_change_channels=True,
    ),
    VariantKind("normalization", "zoo_register_normalizations", ("shape",), "rescaling of activations"),
    VariantKind("dropout", "zoo_register_dropouts", ("shape",), "random removal during training"),
    VariantKind(
        "filter", "zoo_register_filters", ("shape", "filters"), "convolution from `shape` to `filters` channels"
    ),
    VariantKind(
        "pooling", "zoo_register_poolings", ("shape",), "reduction of the spatial size", may_change_channels=True
    ),
    VariantKind("block", "zoo_register_blocks", ("shape", "parts"), "how the parts of a feature block are connected"),
    VariantKind("architecture", "zoo_register_architectures", ("input_shape", "classes", "load"), "a whole network"),
    VariantKind("initializer", "zoo_register_initializers", ("weight",), "starting values of a weight, set in place"),
    VariantKind("optimizer", "zoo_register_optimizers", ("parameters",), "rule that updates the parameters"),
    VariantKind("schedule", "zoo_register_schedules", ("progress",), "factor on the learning rate over a run"),
    VariantKind("loss", "zoo_register_losses", ("logits", "labels", "class_sizes"), "what training minimizes"),
    VariantKind(
        "augmentation",
        "zoo_register_augmentations",
        ("images", "generator", "labels", "indices", "epoch"),
        "random change of a training batch",
    ),
    VariantKind(
        "averaging",
        "zoo_register_averagings",
        ("average", "weights", "step", "steps", "steps_per_epoch"),
        "average of the weights over a run, which is evaluated in their place",
    ),
    VariantKind(
        "prediction", "zoo_register_predictions", ("forward", "images"), "what a network is asked about an image"
    ),
    VariantKind("gradient", "zoo_register_gradients", ("parameters",), "change of the gradients before an update"),
    VariantKind("dataset", "zoo_register_datasets", (), "labelled images"),
    VariantKind("executor", "zoo_register_executors", ("work",), "where runs are trained", in_specs=False),
]
MAKE = "make"
"""What every factory may ask for: `make(choice)` makes the variant that an option chose."""
_ASKED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("activation", "normalization", "dropout", "filter", "pooling", "block"), ("index", "count")),
    "initializer": ("module", "name", "role", "images"),
    "optimizer": ("network", "steps", "steps_per_epoch"),
    "loss": ("views",),
    "schedule": ("validation", "steps"),
    "gradient": ("names",),
}
KINDS: Mapping[str, VariantKind] = {
    kind.name: attrs.evolve(kind, asked=(*_ASKED.get(kind.name, ()), MAKE)) for kind in _KINDS
}
REPLACED = ("activation", "normalization", "dropout", "filter", "pooling")
"""The kinds of which the layers of an architecture can be replaced."""


@hookspec
def zoo_register_activations(register: Register) -> None:
    """Register activations: `factory(shape, **options) -> nn.Module`, which keeps the shape.

    One marked with `zoo.changes_channels` may give another number of channels, or of units in the classifier.
    """


@hookspec
def zoo_register_normalizations(register: Register) -> None:
    """Register normalizations: `factory(shape, **options) -> nn.Module`, which keeps the shape.

    `shape` is (channels, height, width) in a feature block and (units,) in the classifier.
    """


@hookspec
def zoo_register_dropouts(register: Register) -> None:
    """Register dropouts: `factory(shape, **options) -> nn.Module`, which keeps the shape.

    `shape` is (channels, height, width) in a feature block and (units,) in the classifier.
    """


@hookspec
def zoo_register_filters(register: Register) -> None:
    """Register filters: `factory(shape, filters, **options) -> nn.Module`.

    The module maps (batch, *shape) to (batch, filters, height, width) with a height and width of its own.
    """


@hookspec
def zoo_register_poolings(register: Register) -> None:
    """Register poolings: `factory(shape, **options) -> nn.Module`, which keeps the number of channels.

    One marked with `zoo.changes_channels` may give another.
    """


@hookspec
def zoo_register_blocks(register: Register) -> None:
    """Register blocks: `factory(shape, parts, **options) -> nn.Module`.

    `parts` is a `zoo.Parts`: it builds the parts that the spec states for this block.
    """


@hookspec
def zoo_register_architectures(register: RegisterArchitecture) -> None:
    """Register architectures: `factory(input_shape, classes, **options) -> nn.Module`, a whole network.

    The module maps images (batch, *input_shape) to logits (batch, classes), in training as in evaluation.

    `load`, for factories that ask for it, puts starting weights into a network, `load(network)`; None where the spec
    names none. A factory that changes layers to fit the images calls it before, when the network's tensors are those of
    the file. For all others zoo loads them into the network that they return.
    """


@hookspec
def zoo_register_initializers(register: Register) -> None:
    """Register initializers: `factory(weight, **options) -> None` fills a weight of two or more dimensions in place.

    `module`, `name` and `role`, for factories that ask for them, are the layer that it belongs to, its name in the
    network, and what it is for. One that asks for `role` is called for every parameter. One that asks for `images` is
    called with None when the network is built, and again before the first step, with what reaches the layer then.
    """


@hookspec
def zoo_register_optimizers(register: Register) -> None:
    """Register optimizers: `factory(parameters, **options) -> torch.optim.Optimizer`.

    `parameters` is a list of tensors, or, where a spec has groups of them, torch's list of dictionaries. The learning
    rate is the option `learning_rate`.

    An optimizer whose `step(closure)` has no default for it is given `closure(*, create_graph=False)`, which computes
    the batch's loss and the gradients anew, where the parameters are then. `train()` and `eval()` of one that has both
    are called before and after the steps of each epoch.
    """


@hookspec
def zoo_register_schedules(register: Register) -> None:
    """Register schedules: `factory(progress, **options) -> float`.

    `progress` goes from 0 (first step after the warm-up) to 1 (end of the run); the result multiplies the
    learning rate. `validation`, for factories that ask for it, is a tuple of the recalls on the validation part after
    each of the epochs before that was evaluated; a spec with such a schedule needs a validation part. `steps` is how
    many steps there are after the warm-up.
    """


@hookspec
def zoo_register_losses(register: Register) -> None:
    """Register losses: `factory(logits, labels, **options) -> Tensor`, a scalar.

    `logits` is (batch, classes), `labels` is (batch,) of int64; after an augmentation that changes labels it is
    (batch, classes) of the type of the logits, shares that sum to 1. `class_sizes`, for factories that ask for it, is
    (classes,) of the type of the logits: how many training images each class has. A factory that asks for `views` is
    given the logits of each view of the images, (views, batch, classes), of which `logits` are the first; it needs an
    augmentation that gives several.
    """


@hookspec
def zoo_register_augmentations(register: Register) -> None:
    """Register augmentations: `factory(images, generator, **options) -> Tensor` of the same shape.

    `images` is a float batch (batch, channels, height, width) with pixels from 0 to 1, on the device; every
    random draw must come from `generator`, which lives on the same device.

    For factories that ask for them: `labels`, (batch, classes) of the type of the images, the share of each class in
    each image; then images and labels are returned. `indices`, (batch,) of int64, the positions of the images within
    the training part. `epoch`, an int64 number on the device, from 1.

    One with an option `views` gives so many views of each image where it is more than 1: a Tensor (views, batch,
    channels, height, width), of which those that follow change each view.
    """


@hookspec
def zoo_register_averagings(register: Register) -> None:
    """Register averagings: `factory(average, weights, **options) -> None`, called after each step.

    `average` and `weights` are lists of tensors alike: the floating-point parameters and buffers, averaged and as the
    step left them; at first they are equal. It changes `average` in place, and may change `weights`; it keeps nothing
    itself. For factories that ask for them: `step`, an int64 number on the device, from 1; `steps`, those of the whole
    run; `steps_per_epoch`. With an option `statistics` that is "estimated" the statistics of batch normalizations are
    estimated anew from the training images before each evaluation.
    """


@hookspec
def zoo_register_predictions(register: Register) -> None:
    """Register predictions: `factory(forward, images, **options) -> Tensor`, logits (batch, classes).

    `images` is a float batch (batch, channels, height, width) with pixels from 0 to 1; `forward` maps such a batch to
    the network's logits. An image's logits must not depend on the others of its batch.
    """


@hookspec
def zoo_register_gradients(register: Register) -> None:
    """Register changes of gradients: `factory(parameters, **options) -> None` changes each `parameter.grad` in place.

    `parameters` is a list of those that have a gradient; `names`, for factories that ask for it, are their names.
    Random draws come from torch's global generator.
    """


@hookspec
def zoo_register_datasets(register: Register) -> None:
    """Register data sets: `factory(**options) -> zoo.data.Source`."""


@hookspec
def zoo_register_executors(register: Register) -> None:
    """Register executors: `factory(work, **options)`, a generator of events.

    `work` is a `zoo.Work`; the events are `zoo.Started`, `zoo.EpochFinished`, `zoo.Ended` and `zoo.Lost`.
    """


@hookspec
def zoo_layer_kinds() -> Mapping[str, tuple[type | str, ...]]:  # type: ignore[empty-body]
    """Return what counts as an activation, a normalization, ... where layers of an architecture are replaced.

    By kind, classes of modules and names of functions (`"relu"` for `F.relu(x)`, `torch.relu(x)` and `x.relu()`). A
    class that stands under two kinds is a layer that does both, of which neither can be replaced. It is asked when a
    network is built, so it may import torch.

    What is told decides figures. So the source of every plugin that has this hook is part of the key of each run in
    which layers are replaced.
    """


@hookspec
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register specs."""


@hookspec
def zoo_register_studies(register: RegisterStudy) -> None:
    """Register studies."""


@hookspec
def zoo_run_started(run: Run) -> None:
    """A run begins. What this hook raises is reported and does not touch the run."""


@hookspec
def zoo_epoch_finished(run: Run, epoch: EpochRecord) -> None:
    """An epoch of a run is trained, evaluated and stored. What this hook raises does not touch the run."""


@hookspec
def zoo_run_finished(run: Run) -> None:
    """A run has ended; `run.status` says how. What this hook raises does not touch the run."""


@hookspec
def zoo_report_sections(runs: list[Run]) -> list[str]:  # type: ignore[empty-body]
    """Return further paragraphs, printed below the table of the given runs."""


@hookspec
def zoo_write_runs(runs: list[Run], to: str, place: str) -> str | None:
    """Write stored runs elsewhere, if `to` is this plugin's; return in one line what was written, else None."""
