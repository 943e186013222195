"""What is registered, by whom: hooks, the types of options, the registry, digests of sources."""

from zoo.registry.registry import (
    ENTRY_POINT_GROUP,
    SINGLE_FILE,
    Plugin,
    Registered,
    Registry,
    Variant,
    default_registry,
)

__all__ = ["ENTRY_POINT_GROUP", "SINGLE_FILE", "Plugin", "Registered", "Registry", "Variant", "default_registry"]
