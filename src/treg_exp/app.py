"""Builds the pieces from a configuration, runs them, and writes what became of the run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from treg_exp.errors import RunFailedError
from treg_exp.experiment import Experiment


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
    if experiment.settings.dry_run:
        dry_run(experiment)
        return None
    rank = _rank()
    if rank == 0:
        experiment.open_folder()
    batches = experiment.pending_batches()
    if batches:
        restore(experiment, batches, rank)
    return conclude(experiment) if rank == 0 else None


def restore(experiment: Experiment, batches: Sequence[Sequence[Any]], rank: int) -> None:
    """The Lightning predict loop, and the status of the run whatever happens in it."""
    from lightning import Trainer

    from treg_exp.engine.loading import WorkData
    from treg_exp.engine.progress import StepProgress
    from treg_exp.engine.writer import RunWriter

    settings, folder, expected = experiment.trainer, experiment.folder, len(experiment.items)
    world = min(settings.devices * settings.num_nodes, len(batches))  # a process without work would hang the others
    devices = max(1, world // settings.num_nodes)
    progress = StepProgress(experiment.solver.steps, -(-len(batches) // world))
    writer = RunWriter(folder, expected, experiment.settings.draws)
    loggers = experiment.loggers if rank == 0 else []
    if rank == 0:
        folder.write_status("running", expected, 0)
    for logger in loggers:
        logger.start(folder.path, experiment.config, experiment.group)
    trainer = Trainer(
        accelerator=settings.accelerator, devices=devices, num_nodes=settings.num_nodes,
        strategy="ddp" if world > 1 else "auto", inference_mode=False, use_distributed_sampler=False, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[writer, progress, *loggers],
    )  # fmt: skip
    try:
        module = experiment.module(progress.on_step)
        trainer.predict(module, WorkData(experiment.source, batches), return_predictions=False)
        trainer.strategy.barrier("all rows are written")
    except BaseException as error:
        if rank == 0:
            state = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
            folder.write_status(state, expected, writer.failed, error=f"{type(error).__name__}: {error}")
            for logger in loggers:
                logger.close(exit_code=1)
        if isinstance(error, SystemExit):  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from error
        raise


def conclude(experiment: Experiment) -> float | None:
    """Summary, table, picture grid and final status, from the files of the run folder."""
    from treg_exp.files import write_json
    from treg_exp.reports import read_rows, render, summarise, write_grid, write_results

    folder, settings = experiment.folder, experiment.settings
    wanted = {item.key: position for position, item in enumerate(experiment.items)}
    rows = [r for r in read_rows(folder.path) if (r["sample_id"], r["variant"], r["draw"]) in wanted]
    rows.sort(key=lambda r: wanted[r["sample_id"], r["variant"], r["draw"]])
    failed = len(experiment.items) - len(rows)
    summary = summarise(rows)
    write_results(rows, folder.path / "results.csv")
    write_json(folder.path / "summary.json", summary)
    if rows:
        write_grid(folder.path, list(experiment.variants), folder.path / "grid.png", title=experiment.title)
        print(render(summary, experiment.title), flush=True)
    for logger in experiment.loggers:
        logger.finish(rows, summary, lambda key: folder.reconstruction(key, settings.draws))
        logger.close(exit_code=1 if failed else 0)
    folder.write_status("failed" if failed else "finished", len(experiment.items), failed)
    print(f"results: {folder.path}  (grid.png, results.csv, summary.json, samples/)")
    if failed:
        raise RunFailedError(f"{failed} of {len(experiment.items)} restorations failed, see {folder.path}/failures")
    values = [row["psnr"] for row in rows if row.get("psnr") is not None]
    return sum(values) / len(values) if values else None


def dry_run(experiment: Experiment) -> None:
    """Print what would run and what it would cost."""
    from treg_exp.engine.estimate import estimate

    batches = experiment.pending_batches(finished=())
    probes = experiment.probes()
    counts = [sum(item.variant == batch.items[0].variant for item in experiment.items) for batch in probes]
    module = experiment.module(lambda info: None)
    module.on_predict_start()
    cost = estimate(module, probes, counts)
    total = len(experiment.items)
    print(f"{experiment.title}")
    print(f"restorations: {total} ({len(experiment.source)} images, variants {', '.join(experiment.variants)},")
    print(f"              {experiment.settings.draws} draw(s)) in {len(batches)} batches")
    print(f"NFE:          {cost.nfe:.0f} network evaluations, {cost.nfe / total:.0f} per restoration")
    print(f"time:         about {cost.seconds:.0f} s on one process of this machine, plus loading")
    print(f"run_dir:      {experiment.folder.path}")


def quiet() -> None:
    """Silence what does not concern the user: notes of libraries about their own defaults."""
    import os

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric", "diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _rank() -> int:
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)
