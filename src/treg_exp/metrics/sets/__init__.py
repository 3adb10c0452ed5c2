"""Metrics of sets: how far the pictures of a run are, all together, from their targets."""
