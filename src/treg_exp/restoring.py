"""Restores what an experiment has still to do, with Lightning's predict loop, in one process or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.places import one_line
from treg_exp.engine.launcher import Place, meeting
from treg_exp.engine.processes import ProcessLostError, Workers
from treg_exp.errors import ConfigError, RunFailedError, is_interruption
from treg_exp.experiment import Experiment
from treg_exp.files import write_bytes
from treg_exp.run_layout import RunLayout, of_process
from treg_exp.silence import silence_libraries, silence_lightning
from treg_exp.solvers.base import StepInfo


def restore(experiment: Experiment, place: Place, begin: Callable[[], None]) -> None:
    """Do what is still to be done, in one process or several.

    Args:
        experiment: the experiment.
        place: of this process among those that a launcher has started; alone, it starts further ones as needed.
        begin: opens the run folder; called once, by the first process.

    Raises:
        ProcessLostError: another process has ended with an error.
    """
    from treg_exp.engine.loading import write_batches

    if place.world > 1:
        _restore_with_launched(experiment, place, begin)
        return
    begin()
    batches, layout = experiment.pending_batches(place), experiment.folder.layout
    if not batches:
        return
    world = min(experiment.trainer.processes(place), len(batches))  # more would only load the model in vain
    program, parent = ("-m", "treg_exp.worker", str(layout.path)), str(os.getpid())
    commands = [(*program, str(rank), str(world), parent) for rank in range(1, world)]
    if commands:
        write_batches(layout.batches, batches)
    try:
        with Workers(commands) as workers:
            _work(experiment, Place(world=world), batches, workers.check)
            workers.wait()
    except ProcessLostError as error:
        if error.interrupted:
            raise KeyboardInterrupt(str(error)) from None
        raise
    finally:
        layout.batches.unlink(missing_ok=True)


def _restore_with_launched(experiment: Experiment, place: Place, begin: Callable[[], None]) -> None:
    """Do what is still to be done, together with the processes that a launcher has started.

    The first one says what that is: the others might look when it has written rows already.
    """
    from treg_exp.engine.loading import read_batches, write_batches

    layout = experiment.folder.layout
    file, rows = layout.batches, [of_process(layout.rows, rank) for rank in range(place.world)]

    def share_out() -> None:
        begin()
        write_batches(file, experiment.pending_batches(place))
        for missing in (each for each in rows if not each.is_file()):
            write_bytes(missing, b"")  # now: at the end a network file system may list the folder as it was long before

    try:
        with meeting(place, share_out):
            if batches := read_batches(file):
                _work(experiment, place, batches)
    finally:
        if experiment.folder.is_open:  # by the first process, unless the folder is that of another run
            file.unlink(missing_ok=True)


def join(run_dir: str, rank: int, world: int, check: Callable[[], None]) -> None:
    """Be one more process of a run: restore its share. The configuration is the one in the run folder.

    Args:
        run_dir: the run folder.
        rank: number of this process, from 1.
        world: number of processes.
        check: called after every step of the solver.
    """
    from treg_exp.engine.loading import read_batches

    silence_libraries()
    cfg = OmegaConf.load(RunLayout(Path(run_dir)).config)
    assert isinstance(cfg, DictConfig)
    cfg.run_dir = run_dir
    if "verify" in cfg.data:
        cfg.data.verify = False  # the first process has looked into every file
    experiment = Experiment.from_config(cfg)
    _work(experiment, Place(rank, world, rank), read_batches(experiment.folder.layout.batches), check)


def _work(
    experiment: Experiment,
    place: Place,
    batches: Sequence[Sequence[int]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Restore this process's share of the batches, with Lightning's predict loop; ``check`` is called at every step."""
    from treg_exp.engine.loading import work_loader
    from treg_exp.engine.progress import StepProgress
    from treg_exp.engine.trial_report import trial_callbacks
    from treg_exp.engine.watch import Watch
    from treg_exp.engine.writer import RunWriter

    share, folder, first = batches[place.rank :: place.world], experiment.folder, place.rank == 0
    loggers = experiment.loggers if first else []
    progress = StepProgress(experiment.solver.steps, len(share), shown=first)
    writer = RunWriter(folder, experiment.settings.draws, experiment.columns.medium, place.rank)
    reports = trial_callbacks(folder.path, place.world) if first else []
    trainer = make_trainer(experiment, place, [writer, progress, Watch(check), *reports, *loggers])
    if first:
        folder.write_columns(experiment.columns)
        folder.write_environment(experiment.prior.number_format(trainer.strategy.root_device))
        folder.write_status("running")
    for logger in loggers:
        logger.start(folder.path, experiment.config, experiment.group)

    def on_step(info: StepInfo) -> None:
        progress.on_step(info)
        check()

    try:
        if share:  # a launcher may have started more processes than there is work
            loader = work_loader(experiment.source, experiment.items, share)
            trainer.predict(experiment.module(on_step), loader, return_predictions=False)
    except SystemExit as error:
        if not is_interruption(error):
            raise RunFailedError(f"something in the run has called sys.exit({error.code!r})") from error
        raise KeyboardInterrupt from error


def make_trainer(experiment: Experiment, place: Place, callbacks: Sequence[Any] = ()) -> Any:
    """A Lightning trainer that only predicts, on the device of this process.

    Raises:
        ConfigError: this machine does not have such devices.
    """
    from lightning import Trainer
    from lightning.fabric.plugins.environments import LightningEnvironment
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    silence_lightning()
    settings = experiment.trainer
    try:
        return Trainer(
            accelerator=settings.accelerator, devices=settings.device(place.local_rank), inference_mode=False,
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=list(callbacks), plugins=[LightningEnvironment()],  # in a Slurm job it would requeue by itself
        )  # fmt: skip
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {one_line(error)}") from None
