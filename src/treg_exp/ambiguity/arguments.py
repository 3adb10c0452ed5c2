"""The commands of the ambiguity benchmark. They import what they need when they run, so help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path

from treg_exp.argument_help import DefaultsShown


def add_ambiguity_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``pairs`` finds groups, ``ambiguity`` scores runs."""
    _add_pairs(commands)
    _add_ambiguity(commands)


def _add_pairs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "pairs",
        help="find pictures that a measurement can hardly tell apart, for the ambiguity benchmark",
        description="Find groups of different pictures with nearly the same measurement, as in `treg-exp pairs "
        "task=sr_x16 data=folder data.path=photos data.manifest=captions.csv --out groups`. OUT gets a manifest that "
        "data=ambiguity reads, the pictures, and contact sheets; see docs/benchmark.md.",
        formatter_class=DefaultsShown,
    )
    add = command.add_argument
    add("overrides", nargs="+", help="task=... data=... prior=..., as run.py takes them")
    add("--out", type=Path, required=True, help="folder to write")
    add("--closest", type=float, default=5.0, help="largest RMSE between measurements, in sigma of the noise")
    add("--differs", type=float, default=0.12, help="smallest RMSE between pictures, in units of [-1, 1]")
    add("--features", type=float, default=0.0, help="smallest 1 - cosine between pictures by the encoder")
    add(
        "--left-open", type=float, default=0.5, help="smallest share of the difference that the measurement leaves open"
    )
    add("--encoder", default=None, help="metric with an image encoder, such as judge_alignment of metrics=judge")
    add("--unlike", default="name", help="role in which members must differ; the caption where data have no such role")
    add("--same", default=None, help="role in which members must agree, such as style")
    add("--largest", type=int, default=3, help="most members of a group, 2 or 3")
    add("--most", type=int, default=None, help="most groups (default: all)")
    add("--sketch", type=int, default=4096, help="numbers kept per picture; memory is 4 times as many bytes each")
    add("--seed", type=int, default=0, help="of the draw of the unrelated texts")
    add("--reject", type=Path, default=None, help="CSV first,second,reason[,task] of pairs taken out by eye")
    command.set_defaults(run=_pairs)


def _pairs(arguments: argparse.Namespace) -> int:
    from treg_exp.ambiguity.command import pairs
    from treg_exp.ambiguity.search import SearchSettings

    names = ("closest", "differs", "features", "left_open", "unlike", "same", "largest", "most", "sketch", "seed")
    wanted = SearchSettings(**{name: getattr(arguments, name) for name in names})
    found = pairs(arguments.overrides, arguments.out, wanted, arguments.encoder, arguments.reject)
    restored = sum(member.restored for group in found.groups for member in group.members)
    print(f"{found.task}: {len(found.groups)} groups, {restored} pictures to restore, among {found.searched}")
    print(f"written: {arguments.out}; look at its sheet_{found.task}_*.png before you use it")
    return 0


def _add_ambiguity(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "ambiguity",
        help="score runs of the ambiguity benchmark, from their folders",
        description="Print the score of every run of experiment=benchmark/ambiguity in DIRs, as the end of a run does.",
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run_dir of runs and sweeps")
    command.add_argument("--markdown", action="store_true", help="print one Markdown table of all runs")
    command.set_defaults(run=_ambiguity)


def _ambiguity(arguments: argparse.Namespace) -> int:
    from treg_exp.ambiguity.scoring import score_folders

    return score_folders(arguments.folders, arguments.markdown)
