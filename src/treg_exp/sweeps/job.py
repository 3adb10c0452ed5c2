"""One job of a sweep, as every launcher starts it: ``python -m treg_exp.sweeps.job FOLDER``."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.configuration.command_line import attempt, interrupt
from treg_exp.configuration.output import output_that_stops_nothing
from treg_exp.configuration.places import one_line
from treg_exp.engine.outcome import INTERRUPTED, recorded
from treg_exp.errors import ConfigError, RunBusyError
from treg_exp.run_layout import RunLayout

if TYPE_CHECKING:
    from omegaconf import DictConfig


BUSY = 75  # exit code: try again later, as EX_TEMPFAIL of sysexits.h
_DAMAGED = "delete it and give the command of the sweep again, which continues with what is missing"


def execute(folder: Path) -> int:
    """Run what a sweep has planned for a folder, or continue it; also a run that belongs to no sweep.

    The configuration is the one of that time, whatever was changed since. Finished restorations are skipped, so a job
    that was preempted, or whose machine has died, is started by the same call. What becomes of it is in the
    folder's ``status.json``.

    Args:
        folder: the run folder.

    Returns:
        Exit code: 0 finished, 1 some restorations failed or the run could not go on, 2 a wrong setting, 75 another
        process works on it.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    from treg_exp.app import run

    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="[%(name)s][%(levelname)s] - %(message)s")

    busy = False

    def run_unless_busy(folder: Path) -> None:
        nonlocal busy
        try:
            with recorded(folder):
                run(configuration(folder))
        except RunBusyError as error:  # others may work on the same sweep
            print(f"note: {error}", flush=True)
            busy = True

    try:
        code = attempt(run_unless_busy, folder)[1]
        return BUSY if busy else code
    except (Exception, SystemExit):
        traceback.print_exc()
        return 1


def configuration(folder: Path) -> DictConfig:
    """What is to be run in a folder.

    Raises:
        ConfigError: nothing that can be read says so.
    """
    from omegaconf import DictConfig, OmegaConf

    layout = RunLayout(folder)
    file = layout.job if layout.job.is_file() else layout.config
    try:
        cfg = OmegaConf.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{folder} was deleted, or no sweep has planned anything there") from None
    except Exception as error:  # of YAML, of OmegaConf, or of the encoding
        raise ConfigError(f"{file} is damaged: {one_line(error)}; {_DAMAGED}") from None
    if not isinstance(cfg, DictConfig) or not cfg:
        raise ConfigError(f"{file} is damaged: it holds no settings; {_DAMAGED}")
    cfg.run_dir = str(folder)
    return cfg


def check(folder: Path) -> None:
    """Build all pieces of a job but the weights: what is wrong is told now, and not when a queue comes to it.

    Raises:
        ConfigError: a setting that cannot work.
    """
    from treg_exp.experiment import Experiment

    cfg = configuration(folder)
    if cfg.get("mode") != "fit":
        Experiment.from_config(cfg)


def run_folder(folder: Path) -> int:
    """`execute` as a program: a signal ends it in order, and output that nobody reads stops nothing."""
    signal.signal(signal.SIGTERM, interrupt)
    with output_that_stops_nothing():
        try:
            return execute(folder)
        except KeyboardInterrupt:
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(run_folder(Path(sys.argv[1])))
