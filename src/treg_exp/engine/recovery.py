"""What goes wrong on real machines and need not end a run: memory that is too small, numbers that overflow."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from treg_exp.solvers.base import StepInfo

_SIGNS = (
    "can't allocate memory",  # torch's CPU allocator
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUFFT_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)

T = TypeVar("T")
R = TypeVar("R")


class MicroBatches:
    """Work in parts that fit into memory: a part that does not is halved, and later batches begin at that size.

    Samples are independent and draw from their own streams, so the parts give the numbers of the whole.

    Attributes:
        size: the most that is tried at once; None until something did not fit.
    """

    def __init__(self) -> None:
        self.size: int | None = None

    def __call__(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """``work`` on all items.

        Args:
            items: independent of each other.
            work: takes some of them and returns one result each.

        Raises:
            RuntimeError: a single item does not fit into memory.
        """
        results: list[R] = []
        while len(results) < len(items):
            part = items[len(results) :][: self.size]
            try:
                results += work(part)
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                self.size = (len(part) + 1) // 2
                print(f"out of memory with {len(part)} at once: going on with {self.size}", file=sys.stderr, flush=True)
            else:
                continue
            # Only here, where the error and with it the failed attempt's tensors are gone.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return results


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed: on a GPU, in one of its libraries, or on the CPU (which has no class for it)."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


class FirstNonFinite:
    """Notes at which solver step a sample stopped being finite: its estimate, or what the data step made of it.

    Args:
        on_step: told as well.
        count: samples of the batch.
    """

    def __init__(self, on_step: Callable[[StepInfo], None], count: int) -> None:
        self.on_step = on_step
        self.steps: list[int | None] = [None] * count

    def __call__(self, info: StepInfo) -> None:
        """See ``OnStep``."""
        for latent in (info.z_0, info.z_next):
            if latent is not None and not latent.isfinite().all():
                for i in range(len(self.steps)):
                    if self.steps[i] is None and not latent[i].isfinite().all():
                        self.steps[i] = info.move.index
        self.on_step(info)

    def describe(self, i: int) -> str:
        """Where sample ``i`` became non-finite: at the first step that made it so, or after all steps."""
        step = self.steps[i]
        return "after the last step" if step is None else f"at step {step}"
