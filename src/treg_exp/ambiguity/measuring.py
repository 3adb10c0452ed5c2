"""Noiseless measurements of a whole data set, and exact comparisons of two of its pictures."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.ambiguity.neighbours import sketch
from treg_exp.data.base import Source
from treg_exp.errors import FieldError
from treg_exp.operators.base import is_random
from treg_exp.tasks.base import Task
from treg_exp.tasks.inverse import InverseTask

KEPT = 2**29  # bytes of pictures and measurements that are kept at hand
BATCH = 16  # pictures measured at once


class Measured:
    """What a task measures of every picture of a data set.

    Args:
        source: the pictures.
        task: an inverse problem whose operator is the same for all of them.
        signal_shape: of a picture.

    Raises:
        FieldError: the task draws an operator for every sample, is none of measurements, or measures nothing.
    """

    def __init__(self, source: Source, task: Task, signal_shape: Sequence[int]) -> None:
        if not isinstance(task, InverseTask):
            raise FieldError("task", task.name, "measures nothing by itself; take one inverse problem, as task=sr_x16")
        if is_random(task.operator):
            raise FieldError(
                "task",
                task.name,
                "draws another operator for every sample, so two measurements are of different things",
            )
        self.source, self.operator = source, task.build(signal_shape, [])
        self.lam = task.lam(self.operator)
        self.where = self.operator.measured().flatten().nonzero().squeeze(1)
        if not len(self.where):
            raise FieldError("task", task.name, "measures nothing, so everything is alike")
        self._kept: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    @property
    def count(self) -> int:
        """Measured numbers per picture."""
        return len(self.where)

    def picture(self, index: int) -> Tensor:
        """One picture, (3, H, W) in [-1, 1]."""
        target = self.source[index].target
        if target is None:
            raise FieldError("data", self.source.ids[index], "is a measurement; the search needs pictures")
        return target

    def measure(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) pictures -> (B, count) measured numbers."""
        with torch.no_grad():
            return self.operator.A(pictures).flatten(1)[:, self.where]

    def sketches(self, size: int) -> Tensor:
        """See `sketch`: (N, M) of all pictures, whose distances are lower bounds."""
        from tqdm import tqdm

        starts = range(0, len(self.source), BATCH)
        parts = []
        for start in tqdm(starts, desc="measuring", delay=5.0, leave=False, file=sys.stderr):
            indices = range(start, min(start + BATCH, len(self.source)))
            parts.append(sketch(self.measure(torch.stack([self.picture(i) for i in indices])), size))
        return torch.cat(parts)

    def apart(self, first: int, second: int) -> tuple[float, float]:
        """RMSE between the measurements of two pictures, per measured number, and between the pictures."""
        (own, own_picture), (other, other_picture) = self._both(first), self._both(second)
        return _rmse(own, other), _rmse(own_picture, other_picture)

    def left_open(self, first: int, second: int) -> float | None:
        """Which share of the squared difference of two pictures the measurement leaves open, in [0, 1].

        What it determines is the ridge solution of A d = A (x1 - x2) with the weight of the task's proximal step, which
        counts what lies below the noise as open. None for operators that are not linear.
        """
        if not self.operator.linear:
            return None
        apart = (self._both(first)[1] - self._both(second)[1])[None]
        with torch.no_grad():
            known = self.operator.prox(self.operator.A(apart), torch.zeros_like(apart), self.lam)
        return float((apart - known).double().square().sum() / apart.double().square().sum())

    def _both(self, index: int) -> tuple[Tensor, Tensor]:
        if index not in self._kept:
            picture = self.picture(index)
            self._kept[index] = self.measure(picture[None])[0], picture
            size = self._kept[index][0].nbytes + picture.nbytes
            while len(self._kept) > max(2, KEPT // size):
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


def _rmse(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().mean().sqrt())
