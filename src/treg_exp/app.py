"""Builds the pieces from a configuration, runs them, and writes what became of the run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.engine.processes import (
    Place,
    ProcessLostError,
    Workers,
    check_devices,
    check_launch,
    device,
    launched,
    meeting,
)
from treg_exp.engine.work import WorkItem
from treg_exp.errors import ConfigError, RunFailedError
from treg_exp.experiment import Experiment
from treg_exp.solvers.base import StepInfo


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
    experiment = Experiment.from_config(cfg)
    place = launched()
    if experiment.settings.dry_run:
        if place.rank == 0:  # of several processes that a launcher has started
            dry_run(experiment)
        return None
    check_launch(place, experiment.trainer.devices, experiment.trainer.num_nodes)
    if place.rank > 0:
        restore(experiment, place)
        return None
    folder = experiment.folder
    experiment.open_folder()
    try:
        _announce(experiment)
    except ConfigError:
        folder.close()
        raise
    try:
        restore(experiment, place)
        rows, summary = conclude(experiment)
        failed = len(experiment.items) - len(rows)
        folder.write_status("failed" if failed else "finished", _keys(experiment))
        grid = "grid.png, " if rows else ""  # where every restoration has failed there is none
        print(f"results: {folder.path}  ({grid}results.csv, summary.json, samples/)", flush=True)
        for logger in experiment.loggers:
            logger.finish(rows, summary, lambda key: folder.reconstruction(key, experiment.settings.draws))
            logger.close(exit_code=1 if failed else 0)
    except BaseException as error:
        _write_end(experiment, error)
        for logger in experiment.loggers:
            logger.close(exit_code=1)
        raise
    finally:
        folder.close()
    if failed:
        raise RunFailedError(f"{failed} of {len(experiment.items)} restorations failed, see {folder.path}/failures")
    values = [row["psnr"] for row in rows if row.get("psnr") is not None]
    return sum(values) / len(values) if values else None


def restore(experiment: Experiment, place: Place) -> None:
    """Do what is still to be done, in one process or several.

    Args:
        experiment: its folder is open.
        place: of this process among those that a launcher has started; alone, it starts further ones as needed.

    Raises:
        ConfigError: this machine does not have such devices.
        ProcessLostError: another process has ended with an error.
    """
    from treg_exp.engine.loading import batches_file, write_batches

    batches, folder = experiment.pending_batches(), experiment.folder.path
    if not batches:
        return
    if place.world > 1:
        with meeting(place):
            _work(experiment, place, batches)
        return
    world = min(experiment.trainer.devices, len(batches))  # more would only load the model in vain
    check_devices(experiment.trainer.accelerator, world)
    commands = [("-m", "treg_exp.worker", str(folder), str(r), str(world), str(os.getpid())) for r in range(1, world)]
    if commands:
        write_batches(folder, batches, experiment.items)
    try:
        with Workers(commands) as workers:
            _work(experiment, Place(world=world), batches, workers.check)
            workers.wait()
    except ProcessLostError as error:
        if error.interrupted:
            raise KeyboardInterrupt(str(error)) from None
        raise
    finally:
        batches_file(folder).unlink(missing_ok=True)


def join(run_dir: str, rank: int, world: int, check: Callable[[], None]) -> None:
    """Be one more process of a run: restore its share. The configuration is the one in the run folder.

    Args:
        run_dir: the run folder.
        rank: number of this process, from 1.
        world: number of processes.
        check: called after every step of the solver.
    """
    from treg_exp.engine.loading import read_batches

    quiet()
    cfg = OmegaConf.load(f"{run_dir}/config.yaml")
    assert isinstance(cfg, DictConfig)
    cfg.run_dir = run_dir
    if "verify" in cfg.data:
        cfg.data.verify = False  # the first process has looked into every file
    experiment = Experiment.from_config(cfg)
    _work(experiment, Place(rank, world, rank), read_batches(experiment.folder.path, experiment.items), check)


def _work(
    experiment: Experiment,
    place: Place,
    batches: Sequence[Sequence[WorkItem]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Restore this process's share of the batches, with Lightning's predict loop; ``check`` is called at every step."""
    from treg_exp.engine.loading import work_loader
    from treg_exp.engine.progress import StepProgress
    from treg_exp.engine.watch import Watch
    from treg_exp.engine.writer import RunWriter

    share, folder, first = batches[place.rank :: place.world], experiment.folder, place.rank == 0
    loggers = experiment.loggers if first else []
    progress = StepProgress(experiment.solver.steps, len(share), shown=first)
    writer = RunWriter(folder, _keys(experiment), experiment.settings.draws, place.rank)
    trainer = _trainer(experiment, place, [writer, progress, Watch(check), *loggers])
    if first:
        folder.write_environment(experiment.prior.number_format(trainer.strategy.root_device))
        folder.write_status("running", _keys(experiment))
    for logger in loggers:
        logger.start(folder.path, experiment.config, experiment.group)

    def on_step(info: StepInfo) -> None:
        progress.on_step(info)
        check()

    try:
        if share:  # a launcher may have started more processes than there is work
            trainer.predict(experiment.module(on_step), work_loader(experiment.source, share), return_predictions=False)
    except SystemExit as error:  # Lightning turns Ctrl-C into an exit
        raise KeyboardInterrupt from error


def conclude(experiment: Experiment) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Summary, table and picture grid, from the files of the run folder.

    Returns:
        All rows of the run in the order of the work items, and the summary.
    """
    from treg_exp.files import write_json
    from treg_exp.reports.grid import write_grid
    from treg_exp.reports.posterior import write_posterior, write_posterior_grid
    from treg_exp.reports.rows import read_rows, write_results
    from treg_exp.reports.summary import summarise
    from treg_exp.reports.table import render

    path = experiment.folder.path
    wanted = {item.key: position for position, item in enumerate(experiment.items)}
    rows = [r for r in read_rows(path) if (r["sample_id"], r["variant"], r["draw"]) in wanted]
    rows.sort(key=lambda r: wanted[r["sample_id"], r["variant"], r["draw"]])
    posterior = write_posterior(path, rows)
    summary = summarise(rows, posterior)
    write_results(rows, path / "results.csv")
    write_json(path / "summary.json", summary)
    if rows:
        write_grid(path, list(experiment.variants), path / "grid.png", title=experiment.title, rows=rows)
        if posterior:
            write_posterior_grid(path, posterior, path / "posterior.png")
        print(render(summary, experiment.title), flush=True)
    return rows, summary


def dry_run(experiment: Experiment) -> None:
    """Print what would run and what it would cost."""
    from treg_exp.engine.estimate import estimate

    batches = experiment.pending_batches(finished=())
    probes = experiment.probes()
    counts = [sum(item.variant == batch.items[0].variant for item in experiment.items) for batch in probes]
    module = experiment.module(lambda info: None)
    module.to(_trainer(experiment, Place()).strategy.root_device)
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


def _trainer(experiment: Experiment, place: Place, callbacks: Sequence[Any] = ()) -> Any:
    """A Lightning trainer that only predicts, on the device of this process.

    Raises:
        ConfigError: this machine does not have such devices.
    """
    from lightning import Trainer
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    for name in ("lightning.pytorch", "lightning.fabric"):  # importing it has set the level
        logging.getLogger(name).setLevel(logging.ERROR)
    accelerator = experiment.trainer.accelerator
    try:
        return Trainer(
            accelerator=accelerator, devices=device(accelerator, place.local_rank), inference_mode=False, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=list(callbacks),
        )  # fmt: skip
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from None


def _keys(experiment: Experiment) -> frozenset[tuple[str, str, int]]:
    return frozenset(item.key for item in experiment.items)


def _announce(experiment: Experiment) -> None:
    """Say so where an earlier run is continued or was finished.

    Raises:
        ConfigError: it had other texts: they come from the data, which the identity of a run does not hold.
    """
    from treg_exp.engine.run_folder import git_revision
    from treg_exp.files import read_json
    from treg_exp.reports.rows import read_rows

    items, path = {item.key: item for item in experiment.items}, experiment.folder.path
    done = [row for row in read_rows(path) if (row["sample_id"], row["variant"], row["draw"]) in items]
    if not done:
        return
    for row in done:
        prompt = items[row["sample_id"], row["variant"], row["draw"]].texts["prompt"]
        if row["prompt"] != prompt:
            raise ConfigError(
                f"run_dir={path} holds {row['sample_id']} with the text {row['prompt']!r}, now it is {prompt!r}; "
                "choose another run_dir"
            )
    if len(done) < len(items):
        print(f"continuing {path}: {len(done)} of {len(items)} restorations are there", flush=True)
    else:
        print(f"nothing to do: {path} holds all {len(items)} restorations; another run_dir makes them anew", flush=True)
    made, now = read_json(path / "environment.json").get("git"), git_revision()
    if made != now:
        print(f"note: they were made by revision {made}, this is {now}", flush=True)


def _write_end(experiment: Experiment, error: BaseException) -> None:
    """The status of a run that did not come to its end."""
    if isinstance(error, KeyboardInterrupt):
        experiment.folder.write_status("interrupted", _keys(experiment))
    else:
        experiment.folder.write_status("failed", _keys(experiment), error=f"{type(error).__name__}: {error}")
