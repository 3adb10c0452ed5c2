"""Noise schedules: levels (t, alpha, sigma), moves between them, and one file per family of schedules."""
