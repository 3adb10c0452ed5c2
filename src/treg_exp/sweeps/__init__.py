"""Sweeps: many runs that are planned together, started by any launcher, and continued by the same command."""
