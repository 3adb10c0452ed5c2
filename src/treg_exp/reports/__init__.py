"""Tables and pictures of a run, made from the files in its folder alone."""

from treg_exp.reports.grid import write_grid
from treg_exp.reports.posterior import write_posterior, write_posterior_grid
from treg_exp.reports.rows import read_rows, write_results
from treg_exp.reports.summary import summarise
from treg_exp.reports.table import render, summary_table

__all__ = [
    "read_rows",
    "render",
    "summarise",
    "summary_table",
    "write_grid",
    "write_posterior",
    "write_posterior_grid",
    "write_results",
]
