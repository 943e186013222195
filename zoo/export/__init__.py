"""From a run in the ledger to a file that other programs can load, with a model card."""
