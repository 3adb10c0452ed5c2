"""The folder of a training: what lies in it, and how it is read afterwards."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.errors import FileError
from treg_exp.files import read_json, write_json

#: Key of a checkpoint, beside Lightning's own: what its weights only make sense with.
MEANING = "meaning"
#: What a row of figures has and a row of a training loss has not.
_MARK = "minutes"


@dataclass(frozen=True)
class TrainingFolder:
    """Checkpoint, settings and figures of one training.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The only checkpoint, in Lightning's format: ``state_dict`` holds the averaged weights."""
        return self.path / "last.ckpt"

    def keep(self, settings: Mapping[str, Any]) -> None:
        """Write the settings that it is trained with."""
        write_json(self.path / "settings.json", settings)

    def settings(self) -> dict[str, Any]:
        """The settings that it was last trained with; empty where it never was."""
        return read_json(self.path / "settings.json")

    def averaged(self) -> dict[str, Tensor]:
        """Averaged weights of the network.

        Raises:
            FileNotFoundError: there is no checkpoint yet.
            FileError: it is of another version.
        """
        if not self.checkpoint.is_file():
            raise FileNotFoundError(f"{self.checkpoint} does not exist: train this stage first")
        checkpoint = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        meaning_in(checkpoint)  # refuses those of others, where other weights may go by these names
        state, prefix = checkpoint["state_dict"], "network."
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def figures(self) -> list[dict[str, float]]:
        """The figures of each validation with the training loss before it, oldest first.

        Lightning's `CSVLogger` begins a table with every continuation. Rows of steps that a kill undid are those that a
        later table makes again.
        """
        tables = sorted(self.path.glob("metrics/version_*/metrics.csv"), key=lambda file: int(file.parent.name[8:]))
        found: list[dict[str, float]] = []
        for table in tables:
            if rows := _validations(table):
                found = [row for row in found if row["step"] < rows[0]["step"]] + rows
        return found


def meaning_in(checkpoint: Mapping[str, Any]) -> Mapping[str, str]:
    """What the weights of a checkpoint only make sense with.

    Raises:
        FileError: it was not written by this training.
    """
    if MEANING not in checkpoint:
        raise FileError(
            "the checkpoint is of another version of the training, which cannot be continued; choose a new folder"
        )
    found: Mapping[str, str] = checkpoint[MEANING]
    return found


def _validations(file: Path) -> list[dict[str, float]]:
    """Rows of one table that have figures, each with the latest value of what only the rows between have."""
    found, latest = [], dict[str, float]()
    with file.open(newline="") as handle:
        for row in csv.DictReader(handle):
            try:
                values = {name: float(value) for name, value in row.items() if name != "epoch" and value}
            except (TypeError, ValueError):  # a line that a kill left unfinished
                continue
            latest.update(values)
            if _MARK in values and "step" in values:
                found.append(dict(latest))
    return found
