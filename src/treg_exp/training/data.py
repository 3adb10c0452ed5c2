"""Batches that depend on nothing but (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from treg_exp.errors import FieldError
from treg_exp.noise import generator as keyed_generator


class KeyedSampler:
    """Positions of the examples of each step, drawn with replacement, without end.

    Args:
        count: how many examples there are.
        batch_size: examples per step.
        seed: of the draws.
        first_step: step of the first batch: a continued training begins where it was cut off.
    """

    def __init__(self, count: int, batch_size: int, seed: int, first_step: int = 0) -> None:
        self.count, self.batch_size, self.seed, self.first_step = count, batch_size, seed, first_step

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            drawn = torch.randint(self.count, (self.batch_size,), generator=keyed_generator(self.seed, "batch", step))
            yield drawn.tolist()
            step += 1


class KeyedBatches(L.LightningDataModule):
    """Random batches of a data set, the same ones however often a training is cut off and continued.

    Args:
        examples: a data set of torch: anything with a length that can be indexed.
        batch_size: examples per step.
        seed: of the draws.
        num_workers: processes that read ahead; 0 reads in the training's own.
    """

    def __init__(self, examples: Any, batch_size: int, seed: int = 0, num_workers: int = 0) -> None:
        super().__init__()
        if not len(examples):
            raise FieldError("examples", type(examples).__name__, "holds nothing")
        if batch_size < 1:
            raise FieldError("batch_size", batch_size, "must be >= 1")
        self.examples, self.batch_size, self.seed, self.num_workers = examples, batch_size, seed, num_workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Endless; called when the checkpoint has been read, so that the trainer knows its step."""
        first = self.trainer.global_step if self.trainer is not None else 0
        sampler = KeyedSampler(len(self.examples), self.batch_size, self.seed, first)
        return DataLoader(self.examples, batch_sampler=sampler, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """One item: an objective measures its figures all at once."""
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]
