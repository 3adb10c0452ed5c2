"""Builds the pieces from a configuration, runs them, and writes what became of the run."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from treg_exp.errors import ConfigError, RunFailedError
from treg_exp.experiment import Experiment
from treg_exp.run_layout import RECONSTRUCTION, Key, RunLayout, key_of, picture, read_rows


def run(cfg: DictConfig) -> float | None:
    """Run one experiment.

    Args:
        cfg: the composed configuration.

    Returns:
        The mean PSNR over all restorations (the objective of a sweeper), None without targets.

    Raises:
        ConfigError: a setting that cannot work, found before any model is loaded.
        RunFailedError: some work items failed; what was finished is kept.
    """
    quiet()
    if cfg.get("mode") == "fit":
        from treg_exp.training.fit import fit

        fit(cfg)
        return None
    experiment = Experiment.from_config(cfg)
    from treg_exp.engine.processes import check_launch, is_first

    if experiment.settings.dry_run:
        if is_first():  # of several processes that a launcher has started
            dry_run(experiment)
        return None
    check_launch(experiment.trainer.num_nodes)
    if not is_first():
        restore(experiment)
        return None
    folder = experiment.folder
    experiment.open_folder()
    try:
        _announce(experiment)
    except ConfigError:
        folder.close()
        raise
    try:
        restore(experiment)
        rows, summary = conclude(experiment)
        failed = len(experiment.items) - len(rows)
        folder.write_status("failed" if failed else "finished", _keys(experiment))
        layout = folder.layout
        made = [layout.grid, layout.results, layout.summary]
        made = made if rows else made[1:]  # where every restoration has failed there is no picture
        print(f"results: {folder.path}  ({', '.join(file.name for file in made)}, {layout.samples.name}/)", flush=True)
        for logger in experiment.loggers:
            logger.finish(rows, summary, lambda key: picture(layout.found(key), RECONSTRUCTION))
            logger.close(exit_code=1 if failed else 0)
    except BaseException as error:
        _write_end(experiment, error)
        for logger in experiment.loggers:
            logger.close(exit_code=1)
        raise
    finally:
        folder.close()
    if failed:
        raise RunFailedError(f"{failed} of {len(experiment.items)} restorations failed, see {folder.layout.failures}")
    values = [row["psnr"] for row in rows if row.get("psnr") is not None]
    return sum(values) / len(values) if values else None


def restore(experiment: Experiment, devices: int | None = None) -> None:
    """Do what is still to be done, with Lightning's predict loop, in one process or several.

    Args:
        experiment: its folder is open.
        devices: processes per machine, for a process that ``LocalProcesses`` started; None decides it here.
    """
    batches = experiment.pending_batches()
    if not batches:
        return
    from treg_exp.engine.loading import WorkData
    from treg_exp.engine.processes import LocalProcesses, OwnSigterm, is_first, launched_outside, leave_group
    from treg_exp.engine.progress import StepProgress
    from treg_exp.engine.writer import RunWriter

    settings, folder, first = experiment.trainer, experiment.folder, is_first()
    outside, count = devices is None and launched_outside(), 1  # count: this process and those that it starts
    if devices is None:
        devices = settings.devices
        if not outside:  # more processes than batches would only load the model in vain
            devices = count = max(1, min(devices, len(batches) // settings.num_nodes))
    world = devices * settings.num_nodes
    loggers = experiment.loggers if first else []
    progress = StepProgress(experiment.solver.steps, -(-len(batches) // world))
    writer = RunWriter(folder, _keys(experiment), experiment.settings.draws, experiment.columns.medium)
    trainer = _trainer(experiment, devices, [writer, progress, OwnSigterm(), *loggers])
    if first:
        folder.write_columns(experiment.columns)
        folder.write_environment(experiment.prior.number_format(trainer.strategy.root_device))
        folder.write_status("running", _keys(experiment))
    for logger in loggers:
        logger.start(folder.path, experiment.config, experiment.group)
    command = [sys.executable, "-m", "treg_exp.app", str(folder.path), str(devices)]
    with LocalProcesses(command, count, lambda number, code: _lost(experiment, number, code)) as others:
        try:
            module = experiment.module(progress.on_step)
            trainer.predict(module, WorkData(experiment.source, batches), return_predictions=False)
        except SystemExit as error:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from error
        others.wait()
    if outside and world > 1:
        trainer.strategy.barrier("all rows are written")
    leave_group()


def join(run_dir: str, devices: int) -> None:
    """Be one more process of a run: restore its share. The configuration is the one in the run folder."""
    from treg_exp.engine.processes import end_with_parent

    end_with_parent()
    quiet()
    cfg = OmegaConf.load(RunLayout(Path(run_dir)).config)
    assert isinstance(cfg, DictConfig)
    cfg.run_dir = run_dir
    if "verify" in cfg.data:
        cfg.data.verify = False  # the first process has looked into every file
    restore(Experiment.from_config(cfg), devices)


def conclude(experiment: Experiment) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Summary, table and picture grid, from the files of the run folder.

    Returns:
        All rows of the run in the order of the work items, and the summary.
    """
    from treg_exp.files import write_json
    from treg_exp.reports.columns import read_columns
    from treg_exp.reports.grid import write_grid
    from treg_exp.reports.posterior import write_posterior, write_posterior_grid
    from treg_exp.reports.rows import write_results
    from treg_exp.reports.summary import summarise
    from treg_exp.reports.table import render

    path, layout = experiment.folder.path, experiment.folder.layout
    wanted = {item.key: position for position, item in enumerate(experiment.items)}
    rows = [row for row in read_rows(path) if key_of(row) in wanted]
    rows.sort(key=lambda row: wanted[key_of(row)])
    experiment.folder.write_columns(experiment.columns)  # of a finished run that is older than this file
    posterior = write_posterior(path, rows)
    summary = summarise(rows, experiment.columns.known, posterior)
    write_results(rows, experiment.columns.known, layout.results)
    write_json(layout.summary, summary)
    if rows:
        write_grid(path, list(experiment.variants), layout.grid, title=experiment.title, rows=rows)
        if posterior:
            write_posterior_grid(path, posterior, layout.posterior_grid)
        print(render(summary, read_columns(path), experiment.title), flush=True)
    return rows, summary


def dry_run(experiment: Experiment) -> None:
    """Print what would run and what it would cost."""
    from treg_exp.engine.estimate import estimate

    batches = experiment.pending_batches(finished=())
    probes = experiment.probes()
    counts = [sum(item.variant == batch.items[0].variant for item in experiment.items) for batch in probes]
    module = experiment.module(lambda info: None)
    module.to(_trainer(experiment, devices=1).strategy.root_device)
    module.on_predict_start()
    cost = estimate(module, probes, counts)
    total = len(experiment.items)
    print(experiment.title)
    print(f"restorations: {total} ({len(experiment.source)} images, variants {', '.join(experiment.variants)},")
    print(f"              {experiment.settings.draws} draw(s)) in {len(batches)} batches")
    about = "" if cost.exact else "about "  # steps may differ in cost
    print(f"NFE:          {about}{cost.nfe:.0f} network evaluations, {cost.nfe / total:.0f} per restoration")
    print(f"time:         about {cost.seconds:.0f} s on one process of this machine, plus loading")
    print(f"run_dir:      {experiment.folder.path}")


def quiet() -> None:
    """Silence what does not concern the user: notes of libraries about their own defaults."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _trainer(experiment: Experiment, devices: int, callbacks: Sequence[Any] = ()) -> Any:
    """A Lightning trainer that only predicts.

    Raises:
        ConfigError: this machine does not have such devices.
    """
    from lightning import Trainer
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    for name in ("lightning.pytorch", "lightning.fabric"):  # importing it has set the level
        logging.getLogger(name).setLevel(logging.ERROR)
    settings = experiment.trainer
    several = devices * settings.num_nodes > 1
    try:
        return Trainer(
            accelerator=settings.accelerator, devices=devices, num_nodes=settings.num_nodes if several else 1,
            strategy="ddp" if several else "auto", inference_mode=False, use_distributed_sampler=False, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=list(callbacks),
        )  # fmt: skip
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from None


def _keys(experiment: Experiment) -> frozenset[Key]:
    return frozenset(item.key for item in experiment.items)


def _announce(experiment: Experiment) -> None:
    """Say so where an earlier run is continued or was finished.

    Raises:
        ConfigError: it had other texts: they come from the data, which the identity of a run does not hold.
    """
    from treg_exp.engine.run_folder import git_revision
    from treg_exp.files import read_json

    items, path = {item.key: item for item in experiment.items}, experiment.folder.path
    done = [row for row in read_rows(path) if key_of(row) in items]
    if not done:
        return
    for row in done:
        prompt = items[key_of(row)].texts["prompt"]
        if row["prompt"] != prompt:
            raise ConfigError(
                f"run_dir={path} holds {row['sample_id']} with the text {row['prompt']!r}, now it is {prompt!r}; "
                "choose another run_dir"
            )
    if len(done) < len(items):
        print(f"continuing {path}: {len(done)} of {len(items)} restorations are there", flush=True)
    else:
        print(f"nothing to do: {path} holds all {len(items)} restorations; another run_dir makes them anew", flush=True)
    made, now = read_json(experiment.folder.layout.environment).get("git"), git_revision()
    if made != now:
        print(f"note: they were made by revision {made}, this is {now}", flush=True)


def _write_end(experiment: Experiment, error: BaseException) -> None:
    """The status of a run that did not come to its end."""
    if isinstance(error, KeyboardInterrupt):
        experiment.folder.write_status("interrupted", _keys(experiment))
    else:
        experiment.folder.write_status("failed", _keys(experiment), error=f"{type(error).__name__}: {error}")


def _lost(experiment: Experiment, number: int, code: int) -> NoReturn:
    """A process of this run has ended with an error: end this one, which may be waiting for it for ever."""
    message = f"process {number} of the run ended with code {code}"
    interrupted = code in (-signal.SIGTERM, -signal.SIGINT)
    _write_end(experiment, KeyboardInterrupt() if interrupted else RuntimeError(message))
    print(f"error: {message}; the same command continues with what is missing", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130 if interrupted else 1)


if __name__ == "__main__":
    join(sys.argv[1], int(sys.argv[2]))
