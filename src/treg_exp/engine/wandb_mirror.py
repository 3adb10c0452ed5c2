"""A copy of the run for Weights & Biases. The files of the run folder stay the truth."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import Callback

from treg_exp.engine.means import Means
from treg_exp.engine.mirror import never_fatal
from treg_exp.engine.told import Told, code_version, final_means, recorded_samples
from treg_exp.engine.wandb_content import STEP, TOLD, curves_of, media_of, table_of
from treg_exp.errors import FieldError
from treg_exp.files import write_text
from treg_exp.run_layout import Key, RunLayout, iterate_rows

log = logging.getLogger(__name__)
STEPS = "last_step"  # file that holds the last step of the W&B run, for the start that continues it
RUN_ID = "WANDB_RUN_ID"
MOST_ROWS = 10_000  # of a table that W&B's page shows


def _forget() -> None:
    """End W&B's service, for which a run that could not begin is still in use."""
    import wandb

    wandb.teardown()


@contextmanager
def _staging(folder: Path) -> Iterator[None]:
    """Make W&B keep the pictures of a table in ``folder/artifacts``.

    Offline they would stay in ``~/.local/share/wandb`` until a ``wandb sync``, which then fails on another machine or
    after that folder was emptied. This environment variable is the only way to say so, and is read at every use.
    """
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = before or str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]


def _number_in(file: Path) -> int:
    """The number that a file holds; 0 where there is none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def run_id(folder: Path, group: str | None) -> str:
    """The id of the W&B run of a run folder: drawn once and kept there, so that continuing it continues the W&B run.

    ``WANDB_RUN_ID`` in the environment, which W&B's own agents set, counts for a run alone. All jobs of a multirun
    would share it.

    Args:
        folder: of the W&B files within the run folder.
        group: of a multirun, None outside one.
    """
    given, kept = None if group else os.environ.get(RUN_ID), folder / "run_id"
    if given or not kept.is_file():
        write_text(kept, given or secrets.token_hex(8))
    return kept.read_text()


class WandbMirror(Callback):
    """One W&B run per run folder: config and code version, means of batches, the summary; at the end more.

    That is a table of the restorations with thumbnails, the pictures of the run, and curves of the solver's steps, of
    which ``trajectory`` says how many. Curves have their own axis, ``trajectory/step``.

    The summary is at any time that of all rows so far, those of earlier starts included.

    Args:
        mode: ``offline`` writes below the run folder, ``online`` uploads.
        project: W&B project.
        entity: W&B user or team.
        group: name that joins the jobs of a sweep; None takes the one that the application gives.
        job_type: W&B job type.
        name: run name; None is the name of the run folder.
        tags: W&B tags.
        thumbnails: side in pixels of the pictures in the table; 0 for none.
        table_rows: most rows of the table; 0 for no table. Of a longer run it has all restorations of samples that are
            evenly spread over it.
        patience: s that a server may take to answer, at the start and at the end of a run. One that does not answer at
            the start is asked no more by this process, whose runs are then kept for ``wandb sync``.
    """

    unreachable = False  # for this process: a sweep would wait in every job

    def __init__(
        self, mode: Literal["offline", "online"] = "offline", project: str = "treg_exp", entity: str | None = None,
        group: str | None = None, job_type: str = "predict", name: str | None = None, tags: Sequence[str] = (),
        thumbnails: int = 64, table_rows: int = 1000, patience: float = 30.0,
    ) -> None:  # fmt: skip
        if mode not in ("offline", "online"):
            raise FieldError("mode", mode, "allowed are offline, online")
        if not 0 <= thumbnails <= 1024:
            raise FieldError("thumbnails", thumbnails, "must be in [0, 1024]; 0: none")
        if not 0 <= table_rows <= MOST_ROWS:
            raise FieldError("table_rows", table_rows, f"must be in [0, {MOST_ROWS}]; 0: no table")
        if patience <= 0:
            raise FieldError("patience", patience, "must be > 0 s")
        self.patience, self.table_rows = patience, table_rows
        self.mode, self.project, self.entity, self.group = mode, project, entity, group
        self.job_type, self.name, self.tags, self.thumbnails = job_type, name, list(tags), thumbnails
        self.broken, self.service = False, "W&B"
        self.run: Any = None
        self.layout = RunLayout(Path())
        self.means = Means()
        self.finished = False
        self.recorded = 0  # samples whose steps are recorded
        self.step = 0  # W&B's own, which must not fall
        self.defined: set[str] = set()  # what stands before the slash of names that W&B knows how to show

    @never_fatal
    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """Open the W&B run (first process only)."""
        self.layout = RunLayout(run_dir.absolute())
        self.means = Means(iterate_rows(run_dir))
        self.recorded = recorded_samples(config)
        self.step = _number_in(self.layout.wandb / STEPS)
        config = {**config, "code": code_version()}
        if self.mode == "online" and not WandbMirror.unreachable:
            try:
                self.run = self._init("online", config, group)
            except Exception as error:
                WandbMirror.unreachable = True
                _forget()
                log.warning("W&B: runs are kept offline from now on, `wandb sync` uploads them later: %s", error)
        if self.run is None:
            self.run = self._init("offline", config, group)
        self.run.define_metric(STEP, hidden=True, summary="none")
        self.run.define_metric("trajectory/*", step_metric=STEP, summary="none")
        self.defined = {"trajectory"}

    def _init(self, mode: Literal["offline", "online"], config: Mapping[str, Any], group: str | None) -> Any:
        import wandb

        path = self.layout.path
        waiting = {"init_timeout": self.patience, "finish_timeout": self.patience} if mode == "online" else {}
        return wandb.init(
            id=run_id(self.layout.wandb, group), resume="allow",
            project=self.project, entity=self.entity, group=self.group or group, job_type=self.job_type,
            name=self.name or path.name, tags=self.tags, mode=mode, dir=str(path), config=dict(config),
            settings=wandb.Settings(silent=True, console="off", **waiting), reinit="finish_previous",
        )  # fmt: skip

    @never_fatal
    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log the means of this batch, under the name of its variant, and keep the summary."""
        if self.run is None:
            return
        rows = [result.row for result in outputs if result.signal is not None]
        self.means.add(rows)
        total = {"restorations": self.means.rows}
        self._log(Means(rows).values | total)
        self.run.summary.update(self.means.values | total)

    @never_fatal
    def finish(
        self, rows: Collection[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[[Key], Path]
    ) -> None:
        """Log the table and the summary, from what the run folder holds.

        Args:
            rows: all rows of the run.
            summary: statistics per variant.
            picture: key of a restoration -> PNG file of its picture.
        """
        if self.run is None:
            return
        self.means, self.finished = Means(rows), True
        self.means.values |= final_means(summary)
        for point in curves_of(self.layout, rows, self.recorded, Told(self.layout.wandb / TOLD)):
            self._log(point)
        with _staging(self.layout.wandb):
            shown = media_of(self.layout)
            if self.table_rows:
                shown["restorations_table"] = table_of(self.layout, rows, self.table_rows, self.thumbnails)
            if shown:
                self._log(shown)

    def _log(self, values: Mapping[str, Any]) -> None:
        """The step is the number of restorations, or goes on where an earlier start has ended; W&B would begin anew."""
        for group in {name.partition("/")[0] for name in values if "/" in name} - self.defined:
            self.run.define_metric(f"{group}/*", summary="none")  # W&B would take the numbers of the last batch
            self.defined.add(group)
        self.step = max(self.step + 1, self.means.rows)
        self.run.log(dict(values), step=self.step, commit=True)

    def close(self, exit_code: int) -> None:
        """End the W&B run, so that the next job of a multirun gets its own; twice does nothing."""
        if self.run is not None:
            run, self.run = self.run, None
            try:
                if not self.finished:  # the rows of other processes were not seen
                    self.means = Means(iterate_rows(self.layout.path))
                run.summary.update({**self.means.values, "restorations": self.means.rows})
                write_text(self.layout.wandb / STEPS, str(self.step))
                run.finish(exit_code=exit_code)
            except Exception as error:
                log.warning("W&B could not close its run: %s", error)
