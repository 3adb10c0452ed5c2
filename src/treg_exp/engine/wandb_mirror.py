"""A copy of the run for Weights & Biases. The files of the run folder stay the truth."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

from lightning.pytorch.callbacks import Callback

from treg_exp.errors import FieldError
from treg_exp.run_layout import Key, RunLayout, key_of

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., None])


def never_fatal(method: F) -> F:
    """A W&B failure is logged once and switches the mirror off; the run goes on."""

    @wraps(method)
    def guarded(self: WandbMirror, *args: Any, **kwargs: Any) -> None:
        if self.broken:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.broken = True
            log.warning("W&B failed and is off for the rest of this run (results are not affected): %s", error)

    return guarded  # type: ignore[return-value]


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


class WandbMirror(Callback):
    """One W&B run per experiment: config, running means, a per-restoration table with thumbnails, the summary.

    Args:
        mode: ``offline`` writes below the run folder, ``online`` uploads.
        project: W&B project.
        entity: W&B user or team.
        group: name that joins the jobs of a sweep; None takes the one that the application gives.
        job_type: W&B job type.
        name: run name; None is the name of the run folder.
        tags: W&B tags.
        thumbnails: side in pixels of the pictures in the table; 0 for none.
    """

    def __init__(
        self, mode: Literal["offline", "online"] = "offline", project: str = "treg_exp", entity: str | None = None,
        group: str | None = None, job_type: str = "predict", name: str | None = None, tags: Sequence[str] = (),
        thumbnails: int = 64,
    ) -> None:  # fmt: skip
        if mode not in ("offline", "online"):
            raise FieldError("mode", mode, "allowed are offline, online")
        if not 0 <= thumbnails <= 1024:
            raise FieldError("thumbnails", thumbnails, "must be in [0, 1024]; 0: none")
        self.mode, self.project, self.entity, self.group = mode, project, entity, group
        self.job_type, self.name, self.tags, self.thumbnails = job_type, name, list(tags), thumbnails
        self.broken = False
        self.run: Any = None
        self.folder = Path()
        self.done = 0

    @never_fatal
    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """Open the W&B run (first process only)."""
        import wandb

        self.folder = RunLayout(run_dir.absolute()).wandb
        self.run = wandb.init(
            project=self.project, entity=self.entity, group=self.group or group, job_type=self.job_type,
            name=self.name or run_dir.name, tags=self.tags, mode=self.mode, dir=str(run_dir), config=dict(config),
            settings=wandb.Settings(silent=True, console="off"), reinit="finish_previous",
        )  # fmt: skip

    @never_fatal
    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log the means of this batch, under the name of its variant."""
        if self.run is None:
            return
        rows = [result.row for result in outputs if result.signal is not None]
        self.done += len(rows)
        values: dict[str, Any] = {"restorations": self.done}
        for column in dict.fromkeys(name for row in rows for name in row):  # not every row has every column
            numbers = [row[column] for row in rows if isinstance(row.get(column), float)]
            if numbers:
                values[f"{rows[0]['variant']}/{column}"] = sum(numbers) / len(numbers)
        self.run.log(values)

    @never_fatal
    def finish(
        self, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[[Key], Path]
    ) -> None:
        """Log the table and the summary, from what the run folder holds.

        Args:
            rows: all rows of the run.
            summary: statistics per variant.
            picture: key of a restoration -> PNG file of its picture.
        """
        if self.run is None:
            return
        for variant, entry in summary["variants"].items():
            for name, value in entry["metrics"].items():
                self.run.summary[f"{variant}/{name}"] = value["mean"]
        with _staging(self.folder):
            self.run.log({"restorations_table": self._table(rows, picture)})

    def _table(self, rows: Sequence[Mapping[str, Any]], picture: Callable[[Key], Path]) -> Any:
        import wandb

        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = wandb.Table(columns=[*columns, "image"] if self.thumbnails else columns)
        for row in rows:
            cells = [row.get(name) for name in columns]
            if self.thumbnails:
                cells.append(self._thumbnail(picture(key_of(row))))
            table.add_data(*cells)
        return table

    def _thumbnail(self, file: Path) -> Any:
        import wandb
        from PIL import Image

        if not file.is_file():
            return None
        with Image.open(file) as image:
            small = image.convert("RGB")
            small.thumbnail((self.thumbnails, self.thumbnails))
        return wandb.Image(small)

    def close(self, exit_code: int) -> None:
        """End the W&B run, so that the next job of a multirun gets its own; twice does nothing."""
        if self.run is not None:
            run, self.run = self.run, None
            try:
                run.finish(exit_code=exit_code)
            except Exception as error:
                log.warning("W&B could not close its run: %s", error)
