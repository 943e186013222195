"""Everything that comes registered with zoo, found through the same entry point as an outside plugin.

Each module that does not begin with an underscore is a plugin of its own. None imports torch before it builds
something, so that listing and checking stay fast; classes that need torch live in the underscored modules.
"""
