"""What the figures of several runs say together."""
