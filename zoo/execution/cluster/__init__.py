"""Training on the machines of a Ray cluster: a worker for each GPU, or each CPU core, that trains one run at a time.

Only Ray Core is used.
"""

from zoo.execution.cluster.pool import ray_executor

__all__ = ["ray_executor"]
