"""Feeds each process its share of the batches."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from treg_exp.configuration.places import one_line
from treg_exp.data.base import Source
from treg_exp.engine.module import WorkBatch
from treg_exp.engine.work import WorkItem
from treg_exp.errors import FileError
from treg_exp.files import write_json

Batches = Sequence[Sequence[int]]  # positions of work items in the plan


class BatchList(Dataset[WorkBatch]):
    """Batches as items of a data set: their composition is decided once, not by a sampler."""

    def __init__(self, source: Source, plan: Sequence[WorkItem], batches: Batches) -> None:
        self.source, self.plan, self.batches = source, plan, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> WorkBatch:
        items, samples, lost = [], [], []
        for item in map(self.plan.__getitem__, self.batches[index]):
            try:
                samples.append(self.source[item.index])
                items.append(item)
            except (OSError, FileError) as error:  # it was there when the run began
                lost.append((item, one_line(error)))
        return WorkBatch(items, samples, lost)


def work_loader(source: Source, plan: Sequence[WorkItem], batches: Batches) -> DataLoader[WorkBatch]:
    """Batches of work items, one by one, with their samples."""
    return DataLoader(BatchList(source, plan, batches), batch_size=None)


def write_batches(file: Path, batches: Batches) -> None:
    """Write what is still to be done, for the further processes of a run.

    They cannot find out by themselves: they start later, when the first may have written rows.
    """
    write_json(file, [list(batch) for batch in batches])


def read_batches(file: Path) -> Batches:
    """The batches that `write_batches` wrote."""
    return [array("q", batch) for batch in json.loads(file.read_text())]
