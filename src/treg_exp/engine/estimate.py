"""What a run would cost: counted exactly where possible, timed on a few real steps where not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from treg_exp.engine.module import RestorationModule, WorkBatch
from treg_exp.types import StepInfo


class _EnoughError(Exception):
    """Raised out of a solver once enough steps were timed."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a run.

    Attributes:
        nfe: network evaluations of all restorations together.
        exact: whether every step that was tried took as many; else ``nfe`` is an extrapolation.
        seconds: wall time on one process, without loading.
    """

    nfe: float
    exact: bool
    seconds: float


def estimate(
    module: RestorationModule, batches: Sequence[WorkBatch], counts: Sequence[int], steps: int = 6
) -> Estimate:
    """Time the first ``steps`` solver steps of one batch per variant and scale them up.

    Args:
        module: with its prior loaded.
        batches: one batch per variant.
        counts: number of work items of each variant.
        steps: steps to time after the first, which warms up.
    """
    nfe, exact, seconds = 0.0, True, 0.0
    for batch, count in zip(batches, counts, strict=True):
        each = _probe(module, batch, steps)
        nfe += each.nfe * count
        exact &= each.exact
        seconds += each.seconds * count
    return Estimate(nfe, exact, seconds)


def _probe(module: RestorationModule, batch: WorkBatch, steps: int) -> Estimate:
    """Cost of one restoration."""
    stamps: list[tuple[float, int]] = []
    start = time.perf_counter()
    total = max(module.solver.steps, 1)

    def watch(info: StepInfo) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        stamps.append((time.perf_counter(), module.evaluations))
        if len(stamps) > steps:
            raise _EnoughError

    module.on_step = watch
    try:
        module.predict_step(batch)
    except _EnoughError:
        pass
    else:
        return Estimate(module.evaluations / len(batch.items), True, (time.perf_counter() - start) / len(batch.items))
    times, counts = zip(*stamps, strict=True)
    each = {after - before for before, after in pairwise((0, *counts))}
    scale = total / len(batch.items)
    return Estimate(scale * counts[-1] / len(counts), len(each) == 1, scale * (times[-1] - times[0]) / (len(times) - 1))
