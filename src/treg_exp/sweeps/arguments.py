"""Commands about sweeps and runs. They import what they need when they run, so help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_sweep_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``status`` tells how far runs are, ``resume`` starts what is missing, ``sync`` uploads what W&B wrote offline."""
    _add_status(commands)
    _add_resume(commands)
    _add_sync(commands)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "status",
        help="how far a sweep or a run is, and what went wrong",
        description="A table of the runs in DIR, read from its files. Exit status 1 where something failed.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="run_dir of a sweep or a run, or what holds several")
    command.add_argument("--watch", action="store_true", help="show it anew until nothing is queued or running")
    command.add_argument("--all", action="store_true", help="list all runs of a long sweep")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=_status)


def _status(arguments: argparse.Namespace) -> int:
    from treg_exp.sweeps.overview import show

    return show(arguments.folder, arguments.watch, arguments.all, arguments.json)


def _add_resume(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "resume",
        help="start what is missing of a sweep or a run, with the settings of then",
        description="Start what is missing, failed or stale in DIR, with the configurations that were planned, by the "
        "launcher of then or another one, as in `treg-exp resume DIR hydra/launcher=local_gpus`.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="run_dir of a sweep or a run")
    command.add_argument("overrides", nargs="*", help="how to start the jobs: hydra/launcher=... hydra.launcher.x=...")
    command.set_defaults(run=_resume)


def _resume(arguments: argparse.Namespace) -> int:
    from treg_exp.sweeps.resuming import resume

    return resume(arguments.folder, arguments.overrides)


def _add_sync(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "sync",
        help="upload the offline W&B runs of runs and sweeps",
        description="Upload to Weights & Biases what DIRs hold and its server does not have yet, by `wandb sync`, with "
        "the account and the server that W&B is set up for (`wandb login`, WANDB_API_KEY, WANDB_BASE_URL). The same "
        "command continues what was cut off; a run that was continued since goes on under its id. What still runs is "
        "left out. Exit status 1 where something is damaged or could not be uploaded.",
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run_dir of runs and sweeps")
    command.add_argument("--dry-run", action="store_true", help="list what would be uploaded")
    command.add_argument(
        "--patience", type=float, default=120.0, help="seconds of silence that end an upload (default: %(default)s)"
    )
    command.set_defaults(run=_sync)


def _sync(arguments: argparse.Namespace) -> int:
    from treg_exp.sweeps.uploading import sync

    return sync(arguments.folders, arguments.dry_run, arguments.patience)
