"""From a spec to a module, and what a change did to it."""
