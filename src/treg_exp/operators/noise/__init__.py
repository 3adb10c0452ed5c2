"""Noise models of measurements."""
