"""When classes differ much in size."""

MUCH_LARGER = 5
"""How many times larger than another a class is that this is said of."""
