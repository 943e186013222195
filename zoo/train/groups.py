"""Groups of parameters that are trained otherwise than the others: factors, schedules of their own, and freezing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import attrs
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.errors import BuildError
from zoo.network.roles import roles
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import ParameterGroup, Spec

_SHOWN = 12
"""Names of parameters that an error lists at most."""


class Groups:
    """The parameters of a network by the groups of a spec that they belong to.

    A parameter may belong to several groups: their factors are multiplied, and it is frozen where one of them is.

    Attributes:
        given: what an optimizer's factory is given: the parameters; or, where a spec has groups, torch's list of
            dictionaries, one for those that belong to the same groups.

    Raises:
        BuildError: a group has no parameter, or two groups of one parameter have schedules of their own.
    """

    def __init__(self, spec: Spec, network: nn.Module, registry: Registry) -> None:
        self._name, self._stated, self._common = spec.name, spec.training.groups, spec.training.schedule
        named = dict(network.named_parameters())
        self.given: Sequence[Tensor] | Sequence[dict[str, list[Tensor]]] = list(named.values())
        self._of = {id(parameter): frozenset[int]() for parameter in named.values()}
        if not self._stated:
            return
        role = roles(network, registry) if any(group.roles for group in self._stated) else {}
        for index, group in enumerate(self._stated):
            for name in self._members(index, group, named, role):
                self._of[id(named[name])] |= {index}
        parts: dict[frozenset[int], list[Tensor]] = {}
        for parameter in named.values():
            parts.setdefault(self._of[id(parameter)], []).append(parameter)
        self.given = [{"params": parameters} for parameters in parts.values()]
        for groups, parameters in parts.items():
            own = [index for index in sorted(groups) if self._stated[index].schedule is not None]
            if len(own) > 1:
                name = next(name for name, parameter in named.items() if parameter is parameters[0])
                raise BuildError(
                    f"{self._name}: training.groups: {name} is in the groups {own[0]} and {own[1]}, which both have a "
                    "schedule; let one of them have it"
                )

    def _members(
        self, index: int, group: ParameterGroup, named: Mapping[str, nn.Parameter], role: Mapping[str, str]
    ) -> list[str]:
        found = [
            name for name in named if fnmatchcase(name, group.at) and (not group.roles or role[name] in group.roles)
        ]
        if found:
            return found
        wanted = [f'is called "{group.at}"'] if group.at != "*" else []
        wanted += [f"is {' or '.join(group.roles)}"] if group.roles else []
        shown = [f"{name} ({role[name]})" if group.roles else name for name in named]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise BuildError(
            f"{self._name}: training.groups[{index}]: no parameter {' and '.join(wanted)}"
            f"; the parameters are {', '.join(shown[:_SHOWN])}{more}"
        )

    def scale(self, optimizer: Optimizer) -> None:
        """Multiply learning rates and weight decays of an optimizer's groups by the factors that a spec states.

        Raises:
            BuildError: the optimizer put parameters of unlike groups together, or has no weight decay.
        """
        for part in optimizer.param_groups if self._stated else ():
            for index in self._groups_of(part["params"]):
                group = self._stated[index]
                part["lr"] *= group.learning_rate
                if "weight_decay" in part:
                    part["weight_decay"] *= group.weight_decay
                elif group.weight_decay != 1:
                    raise BuildError(
                        f"{self._name}: training.groups[{index}].weight_decay: the optimizer has no weight decay that "
                        "could be scaled; leave it out, or choose another optimizer"
                    )

    def schedules(self, optimizer: Optimizer) -> list[Choice | None]:
        """Return the schedule of its own of each of an optimizer's groups; None where it has that of the training."""
        return [
            next((own for index in self._groups_of(part["params"]) if (own := self._stated[index].schedule)), None)
            for part in optimizer.param_groups
        ]

    def place_of(self, schedule: Choice) -> str:
        """Return where a spec states a schedule, for messages."""
        own = (index for index, group in enumerate(self._stated) if group.schedule == schedule)
        return "training.schedule" if schedule == self._common else f"training.groups[{next(own)}].schedule"

    def _groups_of(self, parameters: Sequence[Tensor]) -> list[int]:
        found = {self._of[id(parameter)] for parameter in parameters if id(parameter) in self._of}
        if len(found) > 1:
            raise BuildError(
                f"{self._name}: training.groups: the optimizer trains parameters of unlike groups together; its "
                "factory must keep the groups that it is given apart"
            )
        return sorted(found.pop()) if found else []

    def freezing(self, network: nn.Module, steps: int) -> Freezing:
        """Return which parameters are frozen when, in a run of so many steps.

        Raises:
            BuildError: in some step all are.
        """
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        spans = [
            Span(
                tuple(p for p in trained.values() if index in self._of[id(p)]),
                _step(group.frozen_until, steps, 0),
                _step(group.frozen_after, steps, steps),
            )
            for index, group in enumerate(self._stated)
            if group.frozen_until is not None or group.frozen_after is not None
        ]
        freezing = Freezing(tuple(spans))
        for step in freezing.turns if spans else ():
            if step < steps and len(freezing.frozen(step)) == len(trained):
                raise BuildError(f"{self._name}: training.groups: all parameters are frozen in step {step + 1}")
        return freezing


def _step(stated: float | None, steps: int, otherwise: int) -> int:
    """Return the step that is stated as a number of steps, or as a share of all."""
    if stated is None:
        return otherwise
    return stated if isinstance(stated, int) else round(stated * steps)


@attrs.frozen(eq=False)
class Span:
    """Parameters that are frozen before a step, and from another one on."""

    parameters: tuple[nn.Parameter, ...]
    until: int
    after: int

    def holds(self, step: int) -> bool:
        """Whether they are frozen in a step (from 0)."""
        return step < self.until or step >= self.after


@attrs.frozen(eq=False)
class Freezing:
    """Which parameters are frozen when: they get no gradient, so that no optimizer touches them."""

    spans: tuple[Span, ...]

    @property
    def turns(self) -> list[int]:
        """The steps from which on others are frozen than before, the first step among them."""
        return sorted({0, *(step for span in self.spans for step in (span.until, span.after))})

    def frozen(self, step: int) -> frozenset[int]:
        """Return the identities of the parameters that are frozen in a step (from 0)."""
        return frozenset(id(p) for span in self.spans if span.holds(step) for p in span.parameters)

    def apply(self, step: int) -> None:
        """Freeze what is frozen in a step, and nothing else."""
        frozen = self.frozen(step)
        for span in self.spans:
            for parameter in span.parameters:
                parameter.requires_grad_(id(parameter) not in frozen)

    def release(self) -> None:
        """Freeze nothing any more."""
        for span in self.spans:
            for parameter in span.parameters:
                parameter.requires_grad_(True)

    def stretches(self, first: int, steps: int) -> Iterator[tuple[int, int]]:
        """Yield the beginnings and ends of stretches of steps in which the same parameters are frozen."""
        within = [turn for turn in self.turns if first < turn < first + steps]
        yield from zip([first, *within], [*within, first + steps], strict=True)

    def same(self, other: Freezing, steps: int) -> bool:
        """Whether another freezes the same in so many steps."""
        return all(
            span.holds(step) == theirs.holds(step)
            for span, theirs in zip(self.spans, other.spans, strict=True)
            for step in {*self.turns, *other.turns}
            if step < steps
        )
