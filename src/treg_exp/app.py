"""Builds the pieces from a configuration, runs them, and writes what became of the run."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from treg_exp.configuration.places import errors_at
from treg_exp.engine.heartbeat import Heartbeat
from treg_exp.engine.launcher import Place, check_launch, launched
from treg_exp.engine.means import mean_of
from treg_exp.engine.outcome import recorded
from treg_exp.engine.stored_rows import StoredRows
from treg_exp.errors import ConfigError, PrunedError, RunFailedError
from treg_exp.experiment import Experiment
from treg_exp.reports.ambiguity_table import ambiguity_lines
from treg_exp.reports.choice import choice_lines
from treg_exp.restoring import make_trainer, restore
from treg_exp.run_layout import RECONSTRUCTION, iterate_rows, key_of, picture, read_failures
from treg_exp.silence import silence_libraries


def run(cfg: DictConfig) -> float | None:
    """Run one experiment; of a job of a sweep, what became of it is in its run folder, whatever happens.

    Args:
        cfg: the composed configuration.

    Returns:
        The mean PSNR over all restorations (the objective of a sweeper), None without targets.

    Raises:
        ConfigError: a setting that cannot work, found before any model is loaded.
        RunFailedError: some work items failed; what was finished is kept.
        PrunedError: a search has ended it early.
    """
    with recorded(None if cfg.get("dry_run") else cfg.get("run_dir")):
        return _run(cfg)


def _run(cfg: DictConfig) -> float | None:
    silence_libraries()
    place = launched()
    if cfg.get("mode") == "fit":
        if place.world > 1:
            raise ConfigError(f"mode=fit: trains in one process, and the launcher has started {place.world}")
        from treg_exp.training.fit import fit

        fit(cfg)
        return None
    experiment = Experiment.from_config(cfg)
    with errors_at("trainer"):
        experiment.trainer.check(place)
    if experiment.settings.dry_run:
        if place.rank == 0:  # of several processes that a launcher has started
            _tell(experiment)
            dry_run(experiment)
        return None
    check_launch(place, experiment.trainer.processes(place), experiment.trainer.num_nodes)
    folder, begun = experiment.folder, False

    def begin() -> None:
        nonlocal begun
        experiment.open_folder()
        _tell(experiment)
        _announce(experiment)
        heartbeat.start()
        begun = True

    try:
        with Heartbeat(folder.beat) as heartbeat:
            restore(experiment, place, begin)
            if place.rank > 0:
                return None
            rows, summary = conclude(experiment)
        failed = len(experiment.items) - len(rows)
        layout = folder.layout
        if failed:
            lost = f"{failed} of {len(experiment.items)} restorations failed, see {layout.failures}"
            lost += _last_failure(experiment)
            folder.write_status("failed", error=lost)
        else:
            folder.write_status("finished")
        made = [layout.grid, layout.results, layout.summary]
        made = made if len(rows) else made[1:]  # where every restoration has failed there is no picture
        print(f"results: {folder.path}  ({', '.join(file.name for file in made)}, {layout.samples.name}/)", flush=True)
        for line in choice_lines(summary["choice"]) if summary.get("choice") else ():
            print(line, flush=True)
        for line in ambiguity_lines(summary["ambiguity"]) if summary.get("ambiguity") else ():
            print(line, flush=True)
        for logger in experiment.loggers:
            logger.finish(rows, summary, lambda key: picture(layout.found(key), RECONSTRUCTION))
            logger.close(exit_code=1 if failed else 0)
    except BaseException as error:
        if begun:
            _write_end(experiment, error)
            for logger in experiment.loggers:
                logger.close(exit_code=0 if isinstance(error, PrunedError) else 1)
        raise
    finally:
        folder.close()
    if failed:
        raise RunFailedError(lost)
    return mean_of(rows, "psnr")


def _last_failure(experiment: Experiment) -> str:
    """One of the failures of a run, for who looks no further."""
    lost = experiment.folder.failed()
    for row in reversed(read_failures(experiment.folder.path)):
        position = experiment.items.position(key_of(row))
        if position is not None and lost[position]:
            return f"; {row['sample_id']}, variant {row['variant']}: {row.get('error')}"
    return ""


def conclude(experiment: Experiment) -> tuple[StoredRows, dict[str, Any]]:
    """Summary, table and picture grid, from the files of the run folder.

    Returns:
        All rows of the run in the order of the work items, which stay in their files, and the summary.
    """
    from treg_exp.files import write_json
    from treg_exp.reports.ambiguity import summarise_ambiguity
    from treg_exp.reports.choice import summarise_choice
    from treg_exp.reports.columns import read_columns
    from treg_exp.reports.grid import write_grid
    from treg_exp.reports.posterior import write_posterior, write_posterior_grid
    from treg_exp.reports.rows import write_results
    from treg_exp.reports.sets import add_sets
    from treg_exp.reports.summary import summarise
    from treg_exp.reports.table import render
    from treg_exp.reports.versions import add_versions

    experiment.folder.require()
    path, layout = experiment.folder.path, experiment.folder.layout
    rows = StoredRows(layout, experiment.items)
    experiment.folder.write_columns(experiment.columns)  # of a finished run that is older than this file
    several = experiment.settings.draws > 1
    posterior = write_posterior(path, rows, experiment.metrics.of_restorations) if several else []
    summary = summarise(rows, experiment.columns.of_rows, posterior)
    add_sets(summary, layout, rows, experiment.metrics.of_sets)
    add_versions(summary, rows, read_columns(path))
    if choice := summarise_choice(rows):
        summary["choice"] = choice
    if ambiguity := summarise_ambiguity(rows, posterior):
        summary["ambiguity"] = ambiguity
    write_results(rows, experiment.columns.of_rows, layout.results)
    write_json(layout.summary, summary)
    if len(rows):
        write_grid(path, list(experiment.variants), layout.grid, title=experiment.title, rows=rows)
        if posterior:
            write_posterior_grid(path, posterior, layout.posterior_grid)
        print(render(summary, read_columns(path), experiment.title), flush=True)
    return rows, summary


def dry_run(experiment: Experiment) -> None:
    """Print what would run and what it would cost."""
    from treg_exp.engine.estimate import estimate

    batches = experiment.pending_batches(anew=True)
    probes = experiment.probes()
    counts = [sum(item.together == batch.items[0].together for item in experiment.items) for batch in probes]
    module = experiment.module(lambda info: None)
    module.to(make_trainer(experiment, Place()).strategy.root_device)
    module.on_predict_start()
    cost = estimate(module, probes, counts)
    module.on_predict_end()
    total = len(experiment.items)
    print(experiment.title)
    print(f"restorations: {total} ({len(experiment.source)} images, variants {', '.join(experiment.variants)},")
    print(f"              {experiment.settings.draws} draw(s)) in {len(batches)} batches")
    about = "" if cost.exact else "about "  # steps may differ in cost
    print(f"NFE:          {about}{cost.nfe:.0f} network evaluations, {cost.nfe / total:.0f} per restoration")
    print(f"time:         about {cost.seconds:.0f} s on one process of this machine, plus loading")
    print(f"run_dir:      {experiment.folder.path}")


def _tell(experiment: Experiment) -> None:
    """What stops nothing, and what nothing else would tell."""
    for note in experiment.notes:
        print(f"note: {note}", flush=True)


def _announce(experiment: Experiment) -> None:
    """Say so where an earlier run is continued or was finished.

    Raises:
        ConfigError: it had other texts: they come from the data, which the identity of a run does not hold.
    """
    from treg_exp.engine.environment import git_revision, read_noted
    from treg_exp.reports.columns import read_columns
    from treg_exp.reports.versions import scored_otherwise

    items, path = experiment.items, experiment.folder.path
    done = int(experiment.folder.finished().sum())
    if not done:
        return
    for row in iterate_rows(path):
        position = items.position(key_of(row))
        for column, text in () if position is None else items[position].told.items():
            if row.get(column) != text:
                raise ConfigError(
                    f"run_dir={path} holds {row['sample_id']} with the {column} {row.get(column)!r}, "
                    f"now it is {text!r}; choose another run_dir"
                )
    if done < len(items):
        print(f"continuing {path}: {done} of {len(items)} restorations are there", flush=True)
    else:
        print(f"nothing to do: {path} holds all {len(items)} restorations; another run_dir makes them anew", flush=True)
    earlier = (row for row in iterate_rows(path) if items.position(key_of(row)) is not None)
    for line in scored_otherwise(
        earlier, experiment.metrics.scored_by, read_columns(path), experiment.metrics.versions
    ):
        print(f"note: {line}", flush=True)
    noted, now = read_noted(experiment.folder.layout.environment), git_revision()
    made = noted.get("git")
    if noted and made != now:
        print(f"note: they were made by revision {made}, this is {now}", flush=True)


def _write_end(experiment: Experiment, error: BaseException) -> None:
    """The status of a run that did not come to its end."""
    if isinstance(error, KeyboardInterrupt):
        experiment.folder.write_end("interrupted")
    elif isinstance(error, PrunedError):
        experiment.folder.write_end("pruned")
    else:
        experiment.folder.write_end("failed", error=f"{type(error).__name__}: {error}")
