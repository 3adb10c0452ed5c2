"""What the text says at one step of a restoration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from treg_exp.priors.embedding import TextEmbedding

Texts = Mapping[str, str]  # by role: ``prompt``, ``null``, ``source``, ``target``, ...


@dataclass(frozen=True)
class TextCondition:
    """Texts of a batch, embedded and as they were written.

    Attributes:
        prompt: what is meant.
        null: what the prompt stands against; adaptive negation moves it.
        others: further texts by role, such as ``source`` and ``target`` of an edit.
        words: the texts themselves, for encoders other than the denoiser's (``ImageText.text_features``): one mapping
            per sample, all roles with ``prompt`` and ``null``. They stay when an embedding is moved.
        null_at_start: what ``null`` was before it was moved; None where it has not been.
    """

    prompt: TextEmbedding
    null: TextEmbedding
    others: Mapping[str, TextEmbedding] = field(default_factory=dict)
    words: tuple[Texts, ...] = ()
    null_at_start: TextEmbedding | None = None

    @property
    def first_null(self) -> TextEmbedding:
        """The null text as the run began."""
        return self.null if self.null_at_start is None else self.null_at_start

    def with_null(self, null: TextEmbedding) -> TextCondition:
        """The same texts against another null text."""
        return replace(self, null=null, null_at_start=self.first_null)

    def with_prompt(self, prompt: TextEmbedding) -> TextCondition:
        """Another prompt against the same null text."""
        return replace(self, prompt=prompt)

    def role(self, name: str) -> TextEmbedding:
        """The text of a role; the prompt where the role has no text of its own."""
        return self.null if name == "null" else self.others.get(name, self.prompt)
