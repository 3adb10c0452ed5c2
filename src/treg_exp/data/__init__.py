"""Data sets, measurements and prompts: plain Python, listed at once and read on access."""
