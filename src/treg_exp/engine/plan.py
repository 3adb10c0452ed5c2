"""The plan of a run: all its work items, each made when it is asked for.

Of very many samples a plan holds references to their texts and no object per item, and what is done or waiting is said
by positions in it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from treg_exp.data.base import Source, text_tables
from treg_exp.data.prompts import Texts
from treg_exp.engine.work import Variant, WorkItem
from treg_exp.run_layout import Key

Roles = Mapping[str, Sequence[str | None]]  # text of each sample by role
TaskOf = Callable[[Mapping[str, str]], str]  # texts of a sample -> name of its task


def one_task(texts: Mapping[str, str]) -> str:
    """The task of a sample where all have the same."""
    return ""


class Plan(Sequence[WorkItem]):
    """All work items of a run, sample by sample; see ``plan``.

    Args:
        table: id and captions of every sample.
        texts: what each variant tells the samples. A sample that lacks one of the texts has no item there.
        draws: restorations per sample and variant.
        task_of: the captions of a sample -> name of its task, where the run has several.
    """

    def __init__(self, table: Texts, texts: Mapping[str, Roles], draws: int, task_of: TaskOf = one_task) -> None:
        self._table, self._texts, self._draws, self._task_of = table, texts, draws, task_of
        self._variants = list(texts)
        every = range(len(table) * len(texts))
        lacking = any(None in told for roles in texts.values() for told in roles.values())
        # Samples and variants with an item, as sample * number of variants + variant, in order.
        self._pairs: Sequence[int] = array("q", filter(self._is_told, every)) if lacking else every

    def __len__(self) -> int:
        return len(self._pairs) * self._draws

    @overload
    def __getitem__(self, index: int) -> WorkItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[WorkItem]: ...
    def __getitem__(self, index: int | slice) -> WorkItem | list[WorkItem]:
        """One item, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        pair, draw = divmod(range(len(self))[index], self._draws)
        sample, variant = divmod(self._pairs[pair], len(self._variants))
        name = self._variants[variant]
        sample_id, captions = self._table[sample]
        return WorkItem(
            sample, sample_id, name, draw, self._told(name, sample), self._captions(sample, captions),
            self._task_of(captions),
        )  # fmt: skip

    def position(self, key: Key) -> int | None:
        """Where the item with this key is, None where the run has no such item."""
        sample_id, name, draw = key
        sample = self._samples.get(sample_id)
        if sample is None or name not in self._texts or not 0 <= draw < self._draws:
            return None
        code = sample * len(self._variants) + self._variants.index(name)
        pair = bisect_left(self._pairs, code)
        there = pair < len(self._pairs) and self._pairs[pair] == code
        return pair * self._draws + draw if there else None

    def task(self, sample_id: str) -> str | None:
        """Name of the task of a sample, None where the run has no such sample."""
        sample = self._samples.get(sample_id)
        return None if sample is None else self._task_of(self._table[sample][1])

    def told(self, variant: str) -> Sequence[Mapping[str, str]]:
        """The texts by role that the samples of a variant get, each made when it is asked for."""
        return _ToldTexts(self, variant)

    @cached_property
    def _samples(self) -> dict[str, int]:
        return {sample_id: i for i, (sample_id, _) in enumerate(self._table)}

    def _is_told(self, code: int) -> bool:
        sample, variant = divmod(code, len(self._variants))
        return all(told[sample] is not None for told in self._texts[self._variants[variant]].values())

    def _told(self, variant: str, sample: int) -> dict[str, str]:
        return {role: text for role, told in self._texts[variant].items() if (text := told[sample]) is not None}

    def _captions(self, sample: int, captions: Mapping[str, str]) -> Mapping[str, str]:
        """The texts that metrics compare a sample with, see `WorkItem`."""
        if captions.get("caption"):
            return captions
        for code, variant in enumerate(self._variants, start=sample * len(self._variants)):
            if (first := self._texts[variant]["prompt"][sample]) and self._is_told(code):
                return {**captions, "caption": first}
        return captions


class _ToldTexts(Sequence[Mapping[str, str]]):
    def __init__(self, plan: Plan, variant: str) -> None:
        self._plan, self._variant = plan, variant
        codes = range(len(plan._table))
        count, own = len(plan._variants), plan._variants.index(variant)
        self._samples: Sequence[int] = array("q", (s for s in codes if plan._is_told(s * count + own)))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Mapping[str, str]:  # type: ignore[override]
        return self._plan._told(self._variant, self._samples[index])


def plan(source: Source, variants: Sequence[Variant], draws: int, task_of: TaskOf = one_task) -> Plan:
    """All work items of a run; every prompt is resolved, so a missing text is found before a model is loaded.

    Args:
        source: the samples.
        variants: settings of the text.
        draws: restorations per sample and variant.
        task_of: the texts of a sample -> name of its task, where the run has several.

    Raises:
        FieldError: a sample has no text for a variant that is not optional, or no task.
    """
    table, all_texts = text_tables(source)
    for _, captions in table:
        task_of(captions)  # a sample without a task is found now
    texts: dict[str, Roles] = {
        variant.name: {
            role: prompt.found(table, all_texts) if variant.optional else prompt.resolve(table, all_texts)
            for role, prompt in variant.texts.items()
        }
        for variant in variants
    }
    return Plan(table, texts, draws, task_of)


def pending(finished: NDArray[np.bool_]) -> list[int]:
    """Positions of the items that still have to be done."""
    found: list[int] = np.flatnonzero(~finished).tolist()
    return found


def batches(items: Sequence[WorkItem], positions: Iterable[int], batch_size: int) -> list[array[int]]:
    """Positions by batches of one variant and task, sample by sample: an interrupted run has whole rows of its grid."""
    waiting: dict[tuple[str, str], array[int]] = {}
    full = []
    for position in positions:
        together = items[position].together
        batch = waiting.setdefault(together, array("q"))
        batch.append(position)
        if len(batch) == batch_size:
            full.append(waiting.pop(together))
    return full + list(waiting.values())


def spread(items: Sequence[WorkItem], positions: Sequence[int], batch_size: int, processes: int) -> list[array[int]]:
    """Batches small enough that every process gets one where there are enough items."""
    parts = batches(items, positions, batch_size)
    while len(parts) < min(processes, len(positions)) and batch_size > 1:
        batch_size = (batch_size + 1) // 2
        parts = batches(items, positions, batch_size)
    return parts
