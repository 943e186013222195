"""The suite as tests of pytest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from zoo.registry import Registry, default_registry
from zoo.testing.declared import LIMIT

if TYPE_CHECKING:
    import pytest

    from zoo.testing.check import Check


def conformance(
    name: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
    slow: bool = False,
    limit: float | None = LIMIT,
    registry: Registry | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a test function or class with the checks of all that a name stands for, as its argument `check`.

        @zoo.testing.conformance("swishish")
        def test_conformance(check):
            check()

    Calling the argument fails the test with what was expected, what was found, why it matters and how to mend it, or
    skips it with the reason.

    Args:
        name: of a variant ("swishish", "activation:swishish"), a spec, a plugin, a distribution, or the path of a
            single-file plugin.
        expected_failures: why checks are expected to fail, by their names, besides what the factories declare.
        slow: make those checks too that take seconds.
        limit: seconds after which a check is stopped, and its test skipped; None for none. On Windows there is none.
        registry: where the name is looked up; all installed plugins when left out.

    Raises:
        UnknownNameError: nothing has that name, or a check that is expected to fail does not exist.
    """
    import pytest

    from zoo.testing import suite

    found = suite.find(name, registry or default_registry())
    # To its own tests only, so that pytest's output does not repeat the name in each.
    several = len(found) > 1
    trials = [
        pytest.param(
            _Trial(check, subject, expected, slow, limit),
            id=f"{subject.kind}:{subject.name}-{check.name}" if several else check.name,
        )
        for subject in found
        for expected in [suite.expected(subject, expected_failures or {})]
        for check in suite.checks(subject)
    ]
    return pytest.mark.parametrize("check", trials)


@attrs.frozen
class _Trial:
    """A check of a subject, to be called by a test."""

    check: Check
    subject: Any
    expected: Mapping[str, str]
    slow: bool
    limit: float | None

    def __call__(self) -> None:
        import pytest

        from zoo.testing import suite
        from zoo.testing.check import run

        __tracebackhide__ = True
        outcome = run(self.check, self.subject, expected=self.expected, slow=self.slow, limit=self.limit)
        if outcome.result == "failed":
            pytest.fail(suite.explanation(self.subject, outcome), pytrace=False)
        elif outcome.result == "skipped":
            pytest.skip(outcome.note)
        elif outcome.result == "expected failure":
            pytest.xfail(outcome.note)
