"""Elementwise functions in place of normalizations; each module here whose name has no `_` first is a plugin of zoo."""
