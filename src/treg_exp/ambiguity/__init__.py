"""Search for pictures of different things with nearly the same measurement, see ``docs/benchmark.md``."""
