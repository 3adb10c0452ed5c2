"""Work items: which restorations a run consists of, and how they are batched and shared among processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from treg_exp.data.base import Source, text_tables
from treg_exp.data.prompts import Prompt, Texts
from treg_exp.run_layout import Key
from treg_exp.text.policy import TextPolicy


@dataclass(frozen=True)
class Variant:
    """A named setting of the text, tried on the same measurements as the others.

    Attributes:
        name: label of its column and folder.
        texts: which text each sample gets in each role, among them ``prompt``.
        policy: what the texts do.
        optional: leave out samples that have no such text instead of complaining.
    """

    name: str
    texts: Mapping[str, Prompt]
    policy: TextPolicy
    optional: bool = False


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One restoration.

    Attributes:
        index: position of the sample in the source.
        sample_id: its name.
        variant: name of the text setting.
        draw: number of the posterior sample.
        texts: what the solver is told, by role, among them ``prompt``.
        captions: all texts of the sample by role (metrics compare with them). Without a ``caption`` of the data it is
            the first text that a variant gives the sample, so that alignment with ``prompt=fixed`` is measured, too.
        task: name of its task where a run has several; a batch holds items of one.
    """

    index: int
    sample_id: str
    variant: str
    draw: int
    texts: Mapping[str, str]
    captions: Mapping[str, str]
    task: str = ""

    @property
    def told(self) -> dict[str, str]:
        """What the data decides, as columns of a row: ``prompt``, ``<role>_text`` for other roles, and ``task``."""
        texts = {role if role == "prompt" else f"{role}_text": text for role, text in self.texts.items()}
        return texts | ({"task": self.task} if self.task else {})

    @property
    def together(self) -> tuple[str, str]:
        """What all items of a batch have in common: variant and task."""
        return self.variant, self.task

    @property
    def key(self) -> Key:
        """What identifies the item within a run."""
        return self.sample_id, self.variant, self.draw


def one_task(texts: Mapping[str, str]) -> str:
    """The task of a sample where all have the same."""
    return ""


def plan(
    source: Source, variants: Sequence[Variant], draws: int, task_of: Callable[[Mapping[str, str]], str] = one_task
) -> list[WorkItem]:
    """All work items of a run; every prompt is resolved, so a missing text is found before a model is loaded.

    Args:
        source: the samples.
        variants: settings of the text.
        draws: restorations per sample and variant.
        task_of: the texts of a sample -> name of its task, where the run has several.

    Raises:
        ValueError: a sample has no text for a variant that is not optional.
    """
    table, all_texts = text_tables(source)
    texts = {v.name: _texts(v, table, all_texts) for v in variants}
    items = []
    for index, (sample_id, captions) in enumerate(table):
        told = {name: of_samples[index] for name, of_samples in texts.items()}
        compared, task = _captions(captions, told.values()), task_of(captions)
        items += [
            WorkItem(index, sample_id, v.name, draw, own, compared, task)
            for v, draw in product(variants, range(draws))
            if (own := told[v.name]) is not None
        ]
    return items


def _captions(captions: Mapping[str, str], texts: Iterable[Mapping[str, str] | None]) -> Mapping[str, str]:
    """The texts that metrics compare a sample with, see `WorkItem`."""
    first = next((of_variant["prompt"] for of_variant in texts if of_variant and of_variant["prompt"]), None)
    return captions if captions.get("caption") or first is None else {**captions, "caption": first}


def _texts(variant: Variant, table: Texts, all_texts: Texts) -> list[Mapping[str, str] | None]:
    """The texts of each sample by role; None where the variant is optional and the sample lacks one of them.

    Samples with the same texts share them.
    """
    roles, shared = list(variant.texts), dict[tuple[str | None, ...], Mapping[str, str] | None]()
    columns: list[Sequence[str | None]] = [
        prompt.found(table, all_texts) if variant.optional else prompt.resolve(table, all_texts)
        for prompt in variant.texts.values()
    ]
    for told in (rows := list(zip(*columns, strict=True))):
        if told not in shared:
            shared[told] = {role: text for role, text in zip(roles, told, strict=True) if text is not None}
            if None in told:
                shared[told] = None
    return [shared[told] for told in rows]


def batches(items: Sequence[WorkItem], batch_size: int) -> list[list[WorkItem]]:
    """Batches of one variant and task, sample by sample: an interrupted run has complete rows of its picture grid."""
    waiting: dict[tuple[str, str], list[WorkItem]] = {}
    full = []
    for item in items:
        batch = waiting.setdefault(item.together, [])
        batch.append(item)
        if len(batch) == batch_size:
            full.append(waiting.pop(item.together))
    return full + list(waiting.values())


def pending(items: Sequence[WorkItem], finished: Collection[Key]) -> list[WorkItem]:
    """The items that still have to be done."""
    return [item for item in items if item.key not in finished]


def spread(items: Sequence[WorkItem], batch_size: int, processes: int) -> list[list[WorkItem]]:
    """Batches small enough that every process gets one where there are enough items."""
    parts = batches(items, batch_size)
    while len(parts) < min(processes, len(items)) and batch_size > 1:
        batch_size = (batch_size + 1) // 2
        parts = batches(items, batch_size)
    return parts
