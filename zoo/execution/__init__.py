"""Where runs are trained, and what is told of it meanwhile."""
