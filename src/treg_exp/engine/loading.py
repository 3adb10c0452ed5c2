"""Feeds each process its share of the batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from treg_exp.configuration.places import one_line
from treg_exp.data.base import Source
from treg_exp.engine.module import WorkBatch
from treg_exp.engine.work import WorkItem
from treg_exp.errors import FileError
from treg_exp.files import write_json


class BatchList(Dataset[WorkBatch]):
    """Batches as items of a data set: their composition is decided once, not by a sampler."""

    def __init__(self, source: Source, batches: Sequence[Sequence[WorkItem]]) -> None:
        self.source, self.batches = source, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> WorkBatch:
        items, samples, lost = [], [], []
        for item in self.batches[index]:
            try:
                samples.append(self.source[item.index])
                items.append(item)
            except (OSError, FileError) as error:  # it was there when the run began
                lost.append((item, one_line(error)))
        return WorkBatch(items, samples, lost)


def work_loader(source: Source, batches: Sequence[Sequence[WorkItem]]) -> DataLoader[WorkBatch]:
    """Batches of work items, one by one, with their samples."""
    return DataLoader(BatchList(source, batches), batch_size=None)


def write_batches(file: Path, batches: Sequence[Sequence[WorkItem]], items: Sequence[WorkItem]) -> None:
    """Write what is still to be done, for the further processes of a run.

    They cannot find out by themselves: they start later, when the first may have written rows.

    Args:
        file: JSON; the positions of the batches' items.
        batches: the batches.
        items: all work items of the run.
    """
    position = {item.key: i for i, item in enumerate(items)}
    write_json(file, [[position[item.key] for item in batch] for batch in batches])


def read_batches(file: Path, items: Sequence[WorkItem]) -> list[list[WorkItem]]:
    """The batches that `write_batches` wrote for the same work items."""
    return [[items[i] for i in batch] for batch in json.loads(file.read_text())]
