"""Looking at the folder of a sweep, and clearing it, without training: how far the sweep is, and what is stale."""
