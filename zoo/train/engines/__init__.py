"""How the steps of a run are made, and which way is used for a run."""
