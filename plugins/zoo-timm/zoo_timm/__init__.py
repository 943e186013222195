"""timm's models and layers for zoo; each module here whose name has no `_` first is a plugin of zoo."""
