"""Iterations, transforms and matrices that know nothing of measurements."""
