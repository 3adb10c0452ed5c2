"""Denoisers: one file per kind of backbone."""
