"""Media: how images and audio are kept and shown, and the ranges of their values."""
