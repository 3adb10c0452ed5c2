"""The subcommands of ``treg-exp`` that compare runs; they import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_findings_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``report`` and ``benchmark``."""
    command = commands.add_parser(
        "report",
        help="compare runs: tables, intervals, figures and pictures as one HTML page",
        description="Compare the runs in DIRs with paired statistics. OUT gets report.html, which needs no network, "
        "tables as CSV, Markdown and LaTeX, and figures as PNG and PDF.",
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run_dir of runs and sweeps")
    command.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: %(default)s)")
    command.add_argument("--baseline", help="method that others are compared with (default: the first of each task)")
    command.add_argument(
        "--pictures", type=int, default=300, help="samples with pictures in the page (default: %(default)s)"
    )
    command.set_defaults(run=_report)
    command = commands.add_parser(
        "benchmark",
        help="the table of experiment=benchmark/solvers as Markdown",
        description="Print what each method reaches on each task and at what cost, and paired differences from one of "
        "them. Runs with other measurements are refused.",
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run_dir of runs and sweeps")
    command.add_argument(
        "--baseline", default="TReg", help="method that others are compared with (default: %(default)s)"
    )
    command.set_defaults(run=_benchmark)


def _report(arguments: argparse.Namespace) -> int:
    from treg_exp.findings.report import report

    done = report(arguments.folders, arguments.out, arguments.baseline, arguments.pictures)
    for reason in done.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    print(f"written: {done.page}")
    return 0


def _benchmark(arguments: argparse.Namespace) -> int:
    from treg_exp.findings.benchmark import benchmark

    page, skipped = benchmark(arguments.folders, arguments.baseline)
    for reason in skipped:
        print(f"left out: {reason}", file=sys.stderr)
    print(page, end="")
    return 0
