"""zoo: a plugin-based model zoo that says whether a layer variant helps."""

__version__ = "0.1.0"

from zoo.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
