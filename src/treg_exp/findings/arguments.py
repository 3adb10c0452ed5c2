"""The subcommands of ``treg-exp`` that compare runs; they import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from treg_exp.errors import ConfigError


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
    command.add_argument("--sheets", type=Path, metavar="OUT", help="folder for a picture of every task, TASK.png")
    command.add_argument(
        "--images", type=int, default=4, help="images in such a picture, the first ones (default: %(default)s)"
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
    from treg_exp.findings.benchmark import page, read_contest
    from treg_exp.findings.contact_sheet import write_sheets

    if arguments.images < 1:
        raise ConfigError(f"--images {arguments.images}: at least 1")
    contest = read_contest(arguments.folders, arguments.baseline)
    for reason in contest.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    print(page(contest), end="")
    if arguments.sheets:
        for file in write_sheets(contest.compared, contest.columns, arguments.sheets, arguments.images):
            print(f"written: {file}", file=sys.stderr)
    return 0
