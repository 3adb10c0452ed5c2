"""Null-text rules, one per file."""
