"""What a run would cost: counted exactly where possible, timed on a few real steps where not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from treg_exp.engine.module import RestorationModule, WorkBatch
from treg_exp.solvers.base import StepInfo


class _EnoughError(Exception):
    """Raised out of a solver once enough steps were timed."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a run.

    Attributes:
        nfe: network evaluations of all restorations together.
        exact: whether every step that was tried took as many; else ``nfe`` is an extrapolation.
        seconds: the solver's wall time on one process; loading, measuring and judging come on top.
    """

    nfe: float
    exact: bool
    seconds: float


def estimate(
    module: RestorationModule, batches: Sequence[WorkBatch], counts: Sequence[int], steps: int = 6
) -> Estimate:
    """Time the first ``steps`` solver steps of one batch per variant and task and scale them up.

    Args:
        module: with its prior loaded.
        batches: one batch per variant and task.
        counts: number of work items of each.
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
    """Cost of one restoration, in parts as large as fit into memory."""
    stamps: list[tuple[float, int]] = []
    total = max(module.solver.steps, 1)

    def watch(info: StepInfo) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        if info.move.index == 0:  # of another part, or of the same one again: the first try did not fit into memory
            stamps.clear()
        stamps.append((time.perf_counter(), module.evaluations))
        if len(stamps) > steps:
            raise _EnoughError

    module.on_step = watch
    try:
        rows = [result.row for result in module.predict_step(batch)]
    except _EnoughError:
        pass
    else:
        return Estimate(_mean(rows, "nfe"), True, _mean(rows, "seconds"))
    part = min(module.micro_batches.size or len(batch.items), len(batch.items))
    times, counts = zip(*stamps, strict=True)
    each = [after - before for before, after in pairwise(counts)]
    usual, elapsed = sum(each) / len(each), (times[-1] - times[0]) / len(each)
    # What precedes the first report is counted as it is: an inversion goes all the way up before it takes a step down.
    as_steps = (total - 1 + counts[0] / usual if usual else total) / part
    return Estimate(as_steps * usual, len(set(each)) == 1, as_steps * elapsed)


def _mean(rows: Sequence[Mapping[str, Any]], cost: str) -> float:
    return sum(float(row[cost]) for row in rows) / len(rows)
