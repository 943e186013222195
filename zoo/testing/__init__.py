"""The conformance suite: what everything that is registered must do, whoever registered it.

`zoo check` runs it, and `conformance` makes a pytest test of each of its checks:

    import zoo.testing

    @zoo.testing.conformance("activation:swishish")
    def test_conformance(check):
        check()

Importing this package imports neither torch nor pytest.
"""

from __future__ import annotations

from zoo.testing.declared import expected_failures, made_for
from zoo.testing.parametrized import conformance

__all__ = ["conformance", "expected_failures", "made_for"]
