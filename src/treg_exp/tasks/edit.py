"""Editing: signals that are given whole, and texts that say what they are and what they should become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError
from treg_exp.tasks.problems import EditProblem


@dataclass(frozen=True)
class EditTask:
    """The targets of the data set are the sources.

    Attributes:
        name: short name for tables and folders.
    """

    name: str = "edit"

    @property
    def title(self) -> str:
        """See ``Task``."""
        return self.name

    def pose(self, samples: Sequence[Sample], signal_shape: Sequence[int], device: torch.device) -> EditProblem:
        """See ``Task``."""
        targets = [sample.target for sample in samples if sample.target is not None]
        if len(targets) != len(samples):
            raise FieldError("task", self.name, "edits signals that are given whole; the data has measurements only")
        return EditProblem(torch.stack(targets).to(device))
