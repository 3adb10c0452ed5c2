"""Work items: what a restoration of a run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treg_exp.data.prompts import Prompt
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
