"""One run, several tasks: the data says for each sample what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError
from treg_exp.tasks.base import Task
from treg_exp.tasks.problems import Problem


@dataclass(frozen=True)
class TaskPerSample:
    """Each sample has the task that one of its texts names.

    Attributes:
        tasks: by the name that the data uses.
        role: column of the data that names the task of a sample.
        name: short name for tables and folders.
    """

    tasks: Mapping[str, Task]
    role: str = "task"
    name: str = "per_sample"

    def __post_init__(self) -> None:
        """Checks the fields."""
        if not self.tasks:
            raise FieldError("tasks", "{}", "needs at least one task by name")

    @property
    def title(self) -> str:
        """The names of all tasks."""
        return f"{self.name}: {', '.join(task.name for task in self.tasks.values())}"

    def group(self, texts: Mapping[str, str]) -> str:
        """See ``GroupedTask``: samples of one task are posed together."""
        asked = texts.get(self.role, "")
        if asked not in self.tasks:
            told = f"names {asked!r}" if asked else "has none"
            raise FieldError(
                "role", self.role, f"each sample names its task in this column, one of {', '.join(self.tasks)}, and "
                f"one {told}; other data need one task for all: experiment=single"
            )  # fmt: skip
        return asked

    def pose(self, samples: Sequence[Sample], signal_shape: Sequence[int], device: torch.device) -> Problem:
        """See ``Task``.

        Raises:
            FieldError: the samples are of different tasks, or the task of all refuses them.
        """
        asked = sorted({self.group(sample.captions) for sample in samples})
        if len(asked) != 1:
            raise FieldError("samples", ", ".join(asked), "must be of one task; pose each group by itself")
        try:
            return self.tasks[asked[0]].pose(samples, signal_shape, device)
        except FieldError as error:
            raise error.at(f"tasks.{asked[0]}") from error
