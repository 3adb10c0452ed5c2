"""What a run would cost: counted exactly where possible, timed on a few real steps where not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

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
        seconds: wall time on one process, without loading.
    """

    nfe: float
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
    nfe = seconds = 0.0
    for batch, count in zip(batches, counts, strict=True):
        evaluations, time_each = _probe(module, batch, steps)
        nfe += evaluations * count
        seconds += time_each * count
    return Estimate(nfe, seconds)


def _probe(module: RestorationModule, batch: WorkBatch, steps: int) -> tuple[float, float]:
    """Network evaluations and seconds of one restoration."""
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
        return module.evaluations / len(batch.items), (time.perf_counter() - start) / len(batch.items)
    (t_0, n_0), (t_1, n_1) = stamps[0], stamps[-1]
    taken = len(stamps) - 1
    return total * (n_1 - n_0) / taken / len(batch.items), total * (t_1 - t_0) / taken / len(batch.items)
