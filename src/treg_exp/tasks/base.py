"""What a task has to do: pose problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from treg_exp.data.sample import Sample
from treg_exp.tasks.problems import Problem


class Task(Protocol):
    """Poses one kind of problem for signals of any size; the engine need not know which.

    Attributes:
        name: short name for tables and folders.
    """

    @property
    def name(self) -> str:
        """Short name for tables and folders."""
        ...

    @property
    def title(self) -> str:
        """The name with what a reader of a table has to know."""
        ...

    def pose(self, samples: Sequence[Sample], signal_shape: Sequence[int], device: torch.device) -> Problem:
        """The problem of some samples.

        Args:
            samples: all with a target, all with a measurement, or all with neither.
            signal_shape: native shape of the signals that the prior makes.
            device: where the problem's tensors go.

        Raises:
            FieldError: a shape or value that does not fit.
        """
        ...
