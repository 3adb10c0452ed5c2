"""Feeds each process its share of the batches."""

from __future__ import annotations

from collections.abc import Sequence

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from treg_exp.data.base import Source
from treg_exp.engine.module import WorkBatch
from treg_exp.engine.work import WorkItem


class BatchList(Dataset[WorkBatch]):
    """Batches as items of a data set: their composition is decided once, not by a sampler."""

    def __init__(self, source: Source, batches: Sequence[Sequence[WorkItem]]) -> None:
        self.source, self.batches = source, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> WorkBatch:
        items = self.batches[index]
        return WorkBatch(items, [self.source[item.index] for item in items])


class WorkData(LightningDataModule):
    """Every process takes every n-th batch.

    Args:
        source: the samples.
        batches: batches of work items, the same list in every process.
    """

    def __init__(self, source: Source, batches: Sequence[Sequence[WorkItem]]) -> None:
        super().__init__()
        self.source, self.batches = source, batches
        self.allow_zero_length_dataloader_with_multiple_devices = True  # srun may have started too many processes

    def predict_dataloader(self) -> DataLoader[WorkBatch]:
        """This process's share."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return DataLoader(BatchList(self.source, self.batches[rank::world]), batch_size=None)
