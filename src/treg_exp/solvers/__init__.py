"""Solvers: one algorithm per file, readable like the paper."""
