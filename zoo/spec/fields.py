"""What a spec is: one network and its training as pure data, with every default written out, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

import attrs

from zoo.registry.options import (
    LATER,
    BlockChoice,
    Choice,
    Constraint,
    Float,
    Fraction,
    Kind,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    is_later_default,
)

Part = Literal["filter", "normalization", "activation", "pooling", "dropout"]
DensePart = Literal["linear", "normalization", "activation", "dropout"]
EACH_ONCE = Constraint("a list of parts, each at most once", lambda parts: len(set(parts)) == len(parts))


def chosen(name: str) -> Any:
    """Return the default of a field that holds a choice; reading a spec turns the name into the choice."""
    return name


INSTEAD_OF = "instead_of"
"""Of a field that has a value in place of another: that other's name."""
_RECORDED = "recorded"


def recorded(default: Any) -> Any:
    """Return a field that decides what is recorded of a run, and no figure: it is no part of identities."""
    return attrs.field(default=default, metadata={_RECORDED: True})


def _is_left_out(field: attrs.Attribute[Any], value: Any) -> bool:
    return field.metadata.get(_RECORDED, False) or is_later_default(field, value)


def later(default: Any, *, instead_of: str | None = None) -> Any:
    """Return a field that runs were stored without, and that is no part of identities while it has its default."""
    return attrs.field(default=default, metadata={LATER: True, INSTEAD_OF: instead_of})


def _whole(number: float | None) -> float | None:
    """Return a number as an int where it is a whole one, so that both ways to write it have one identity."""
    return int(number) if number is not None and number == int(number) else number


ActivationChoice = Annotated[Choice, Kind("activation")]
NormalizationChoice = Annotated[Choice, Kind("normalization")]
DropoutChoice = Annotated[Choice, Kind("dropout")]


@attrs.frozen(kw_only=True)
class Block:
    """A feature block: parts, the order in which they follow each other, and how `block` connects them.

    A part that `order` leaves out is not built.
    """

    filters: PositiveInt
    block: BlockChoice = chosen("plain")
    filter: Annotated[Choice, Kind("filter")] = chosen("conv")
    normalization: NormalizationChoice = chosen("none")
    activation: ActivationChoice = chosen("relu")
    pooling: Annotated[Choice, Kind("pooling")] = chosen("none")
    dropout: DropoutChoice = chosen("none")
    order: Annotated[tuple[Part, ...], EACH_ONCE] = get_args(Part)


@attrs.frozen(kw_only=True)
class Dense:
    """A fully connected layer of the classifier, with the parts around it."""

    units: PositiveInt
    normalization: NormalizationChoice = chosen("none")
    activation: ActivationChoice = chosen("relu")
    dropout: DropoutChoice = chosen("none")
    order: Annotated[tuple[DensePart, ...], EACH_ONCE] = get_args(DensePart)


OWN = "own"
"""What leaves the layers of an architecture as they are."""
EVERYWHERE = "*"
"""The pattern of every place that no other pattern matches."""


Own = Literal["own"]
FilterChoice = Annotated[Choice, Kind("filter")]
PoolingChoice = Annotated[Choice, Kind("pooling")]


@attrs.frozen(kw_only=True)
class Places:
    """What stands in place of the layers whose path the pattern `at` matches; a kind that is left out is as elsewhere.

    In a spec it is written `replace."layer4.*".activation = "mish"`. A `*` stands for any text, also with dots.
    """

    at: str
    activation: Own | ActivationChoice | None = None
    normalization: Own | NormalizationChoice | None = None
    dropout: Own | DropoutChoice | None = None
    filter: Own | FilterChoice | None = None
    pooling: Own | PoolingChoice | None = None


@attrs.frozen(kw_only=True)
class Replace:
    """What stands in place of the layers of an architecture, and what at some places only; "own" leaves them."""

    activation: Own | ActivationChoice = "own"
    normalization: Own | NormalizationChoice = "own"
    dropout: Own | DropoutChoice = "own"
    filter: Own | FilterChoice = "own"
    pooling: Own | PoolingChoice = "own"
    places: tuple[Places, ...] = ()

    def by_kind(self) -> dict[str, dict[str, Choice | None]]:
        """Return for each kind of which layers are replaced what stands where: by pattern, "*" for everywhere else.

        None leaves a layer as it is.
        """
        found: dict[str, dict[str, Choice | None]] = {}
        for field in attrs.fields(Replace):
            if field.name == "places":
                continue
            stated = {each.at: getattr(each, field.name) for each in self.places}
            everywhere = {EVERYWHERE: getattr(self, field.name), **stated}
            chosen = {at: None if c == OWN else c for at, c in everywhere.items() if c is not None}
            if any(chosen.values()):
                found[field.name] = chosen
        return found


FROM_FILE = "file:"
"""What stands before the path of a safetensors file with starting weights."""
NO_WEIGHTS = "none"
"""What is written where an architecture starts from weights that are drawn."""


@attrs.frozen(kw_only=True)
class Weights:
    """Starting weights of an architecture; in a spec the source alone is written, `weights = "file:PATH"`.

    `source` is the name under which the architecture's makers publish them, or `file:PATH`, a safetensors file.
    `digest` is the SHA-256 of the file's content, found when the spec is read; null where the file is not there.
    """

    source: str
    digest: str | None = None

    def __str__(self) -> str:
        return self.source


WIDTH = "width"
"""The option of an architecture that makes all of its layers wider."""


@attrs.frozen(kw_only=True)
class Output:
    """The last dense layer of a network of blocks: whether it has a bias, and a factor on its logits."""

    bias: bool = True
    scale: PositiveFloat = 1.0


@attrs.frozen(kw_only=True)
class NetworkSpec:
    """Blocks, or a whole architecture.

    Blocks are feature blocks, dense layers, and a last dense layer to the classes, which is always there and gives
    logits; `output` says how.
    """

    features: tuple[Block, ...] = ()
    classifier: tuple[Dense, ...] = ()
    initializer: Annotated[Choice, Kind("initializer")] = chosen("default")
    architecture: Annotated[Choice, Kind("architecture")] | None = later(None)
    replace: Replace | None = later(None)
    weights: Weights | None = later(None)
    output: Output | None = later(None)

    @property
    def has_widths(self) -> bool:
        """Whether it is said how wide the layers are: by the blocks, or by an option of the architecture."""
        return self.architecture is None or type(self.architecture.values().get(WIDTH)) is int


Role = Literal["filter", "linear", "bias", "normalization", "activation", "pooling", "other"]
"""What a parameter is for, see `zoo.network.roles`."""


@attrs.frozen(kw_only=True)
class ParameterGroup:
    """Parameters that are trained otherwise than the others: those whose name `at` matches and that have a role.

    Learning rate and weight decay are factors on those of the optimizer. A number of steps, or a share of them, says
    until when, and after when, the parameters are frozen.
    """

    at: str = "*"
    roles: tuple[Role, ...] = ()
    learning_rate: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat = 1.0
    schedule: Annotated[Choice, Kind("schedule")] | None = None
    frozen_until: PositiveInt | Probability | None = None
    frozen_after: PositiveInt | Probability | None = None

    def __attrs_post_init__(self) -> None:
        until, after = self.frozen_until, self.frozen_after
        if until is not None and after is not None and type(until) is type(after) and until >= after:
            raise ValueError(
                f"frozen_until = {until} and frozen_after = {after} leave no step in which its parameters are trained; "
                "leave out one of the two, or let the first be smaller"
            )


@attrs.frozen(kw_only=True)
class TrainingSpec:
    """How the network is trained: for so many epochs, or for so many steps.

    The learning rate is the optimizer's option; it rises linearly over the share `warmup` of the steps, then follows
    the schedule. An epoch has as many images as the training set: with `sampling` "once" each of them once, with
    "balanced" drawn with replacement, a class as likely as each other and an image as each other of its class, with
    "weighted" each image in proportion to the weight that the data set gives it. Each is there `repeats` times, in one
    batch. With `drop_last` those that are left of an epoch after its whole steps are not used. What `averaging` makes
    of the weights is evaluated and exported in their place.

    An update is made from the gradient of the mean loss over the images of `accumulate` batches of an epoch, of fewer
    in the last one; a step is an update. Before it the gradients are changed by `gradient`, one after another, and
    scaled down where their norm is larger than `clip_norm`. Training ends before its epochs or steps are over where
    its steps have taken so many `minutes`.
    """

    epochs: PositiveFloat | None = attrs.field(default=None, converter=_whole, metadata={INSTEAD_OF: "steps"})
    batch_size: PositiveInt = 64
    shuffle: bool = True
    sampling: Literal["once", "balanced", "weighted"] = later("once")
    optimizer: Annotated[Choice, Kind("optimizer")] = chosen("sgd")
    schedule: Annotated[Choice, Kind("schedule")] = chosen("constant")
    warmup: Fraction = 0.0
    loss: Annotated[Choice, Kind("loss")] = chosen("cross_entropy")
    augmentation: tuple[Annotated[Choice, Kind("augmentation")], ...] = ()
    averaging: Annotated[Choice, Kind("averaging")] = later("none")
    steps: PositiveInt | None = later(None, instead_of="epochs")
    accumulate: PositiveInt = later(1)
    clip_norm: PositiveFloat | None = later(None)
    groups: tuple[ParameterGroup, ...] = later(())
    gradient: tuple[Annotated[Choice, Kind("gradient")], ...] = later(())
    minutes: PositiveFloat | None = attrs.field(default=None, converter=_whole, metadata={LATER: True})
    repeats: PositiveInt = later(1)
    drop_last: bool = later(False)

    def __attrs_post_init__(self) -> None:
        if self.epochs is None and self.steps is None:
            raise ValueError("epochs is required, or steps, and neither is there")
        if self.epochs is not None and self.steps is not None:
            raise ValueError("it has epochs, and steps too; leave out one of them")
        if self.batch_size % self.repeats:
            raise ValueError(
                f"repeats = {self.repeats} copies of an image stand in one batch, and batch_size = {self.batch_size} "
                "is no multiple of that; change one of the two"
            )

    @property
    def images_per_step(self) -> int:
        """From how many images an update is made, where as many are left of the epoch."""
        return self.batch_size * self.accumulate


Resplit = bool | Literal["folds"]
"""Whether the validation part is drawn anew with each seed; "folds" takes the folds of a partition in turn."""


@attrs.frozen(kw_only=True)
class DataSpec:
    """What the network is trained on.

    `resize` is the side in pixels that images are brought to, and `fit` says what becomes of another shape;
    `skip_damaged` leaves out files that cannot be read. `test` is the share that is split off where a data set has no
    test part, `limit` how many training images are used, and `validation` the share of them that is held out: the same
    for every run, or, where `resplit` is true, drawn anew with each seed, or, where it is "folds", one fold of a
    partition after another. No value of `group_by`, a column or a pattern of file names, stands on both sides of a
    split. Pixels p in [0, 1] become (p - mean) / std, where "train" means each channel's own over the training set.
    """

    dataset: str
    resize: PositiveInt | None = None
    fit: Literal["stretch", "pad", "crop"] = later("stretch")
    skip_damaged: bool = later(False)
    test: Fraction = later(0.0)
    group_by: str | None = later(None)
    limit: PositiveInt | None = later(None)
    validation: Fraction = 0.0
    resplit: Resplit = later(False)
    mean: Float | Literal["train"] = 0.5
    std: PositiveFloat | Literal["train"] = 1.0


@attrs.frozen(kw_only=True)
class Stop:
    """When a run ends early: `patience` epochs after the best by validation recall, told in an evaluation."""

    patience: PositiveInt


@attrs.frozen(kw_only=True)
class EvaluationSpec:
    """When and how recall is measured, and which epoch's network is the result.

    `every` is in epochs (0: only after the last). `measure` is "final" (macro recall after the last epoch),
    "last_quarter" (its mean over the evaluated epochs of the last quarter of the run) or "eq2425" (mean over the
    evaluated epochs of the mean over batches of each batch's macro recall). `prediction` says
    what the network is asked about an image, here and where it is exported. `keep` is "last", or "best" for the first
    epoch of the highest validation recall: its network is the result, and its recall the "final" one. `stop` ends a run
    early. `train` says whether the training images are evaluated each time, or where the result needs it only; measures
    of several epochs need it each time. `target` is the validation recall until which the seconds of training are told.
    """

    every: NonNegativeInt = 1
    measure: Literal["final", "last_quarter", "eq2425"] = "final"
    prediction: Annotated[Choice, Kind("prediction")] = later("plain")
    keep: Literal["last", "best"] = later("last")
    stop: Stop | None = later(None)
    train: Literal["every", "last"] = recorded("last")
    target: Probability | None = recorded(None)


@attrs.frozen(kw_only=True)
class Reference:
    """What a publication reports for a spec: recalls from 0 to 1, a runtime in its own words, and where it stands.

    `epochs` and `dataset` say what the figures are of: those of the spec that states them, where it does not say.
    """

    source: str
    train_recall: Float | None = None
    test_recall: Float | None = None
    runtime: str | None = None
    note: str | None = None
    epochs: PositiveFloat | None = attrs.field(default=None, converter=_whole)
    dataset: str | None = None


@attrs.frozen(kw_only=True)
class Spec:
    """A resolved spec."""

    name: str
    description: str
    network: NetworkSpec
    training: TrainingSpec
    data: DataSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    reference: Reference | None = None

    @cached_property
    def identity(self) -> str:
        """The SHA-256 of all that decides the figures except the data set, which has a digest of its own.

        A field or an option that was added later is left out while it has its default (`zoo.registry.options.Later`),
        and so is what decides only what is recorded.
        """
        tree = unstructure(self, leave_out=_is_left_out)
        for name in ("name", "description", "reference"):
            del tree[name]
        del tree["data"]["dataset"]
        if (weights := self.network.weights) is not None:  # what they are, and not where
            tree["network"]["weights"] = weights.digest or weights.source
        return hashlib.sha256(canonical_json(tree).encode()).hexdigest()

    @property
    def replaces(self) -> bool:
        """Whether variants stand in place of layers of an architecture."""
        return self.network.replace is not None and bool(self.network.replace.by_kind())

    @property
    def names_roles(self) -> bool:
        """Whether parameters are named by what they are for."""
        return any(group.roles for group in self.training.groups)

    def choices(self) -> list[Choice]:
        """Return every choice in the spec, nested ones included.

        Those are left out that identities leave out: what was not there when runs were stored decided nothing.
        """
        found: list[Choice] = []

        def collect(node: Any) -> None:
            if isinstance(node, Choice):
                found.append(node)
                collect(tuple(node.values().values()))
            elif attrs.has(type(node)):
                stated = ((field, getattr(node, field.name)) for field in attrs.fields(type(node)))
                collect(tuple(value for field, value in stated if not is_later_default(field, value)))
            elif isinstance(node, tuple):
                for item in node:
                    collect(item)

        collect(self)
        return found


for _class in (
    Block,
    Dense,
    Places,
    Replace,
    Weights,
    Output,
    NetworkSpec,
    ParameterGroup,
    TrainingSpec,
    DataSpec,
    Stop,
    EvaluationSpec,
    Reference,
    Spec,
):
    attrs.resolve_types(_class)

LeaveOut = Callable[["attrs.Attribute[Any]", Any], bool]
SECTIONS = ("network", "training", "data", "evaluation")
ABOUT = ("description", "reference")


def canonical_json(tree: object) -> str:
    """Return the one JSON text of a tree of plain data: sorted keys, no spaces, no NaN."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


def unstructure(value: Any, *, leave_out: LeaveOut | None = None) -> Any:
    """Turn a spec, or any part of one, into plain dictionaries, lists, strings and numbers.

    Args:
        value: what is turned.
        leave_out: says of a field or an option, and its value, whether it is left out; none is when left out itself.
    """
    if isinstance(value, Choice):
        return {"name": value.name, **unstructure(value.options, leave_out=leave_out)}
    if attrs.has(type(value)):
        stated = [(f.name, f, getattr(value, f.name)) for f in attrs.fields(type(value))]
        return {
            name: unstructure(v, leave_out=leave_out) for name, f, v in stated if not (leave_out and leave_out(f, v))
        }
    if isinstance(value, tuple | list):
        return [unstructure(item, leave_out=leave_out) for item in value]
    return value
