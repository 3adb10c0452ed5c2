"""What a task has to do: pose problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class GroupedTask(Task, Protocol):
    """A task that cannot pose the problems of all samples together, because they differ in kind."""

    def group(self, texts: Mapping[str, str]) -> str:
        """The name of the group of a sample; only samples of one group are posed together.

        Args:
            texts: of the sample by role, as the data has them.

        Raises:
            FieldError: the texts name no group.
        """
        ...


def group_of(task: Task, texts: Mapping[str, str]) -> str:
    """The group of a sample with these texts; nothing where a task poses all samples together."""
    return task.group(texts) if isinstance(task, GroupedTask) else ""
