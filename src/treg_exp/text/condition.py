"""What the text says at one step of a restoration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from treg_exp.errors import FieldError
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
        prompt_at_start: the same of ``prompt``.
        prompt_slope: (B, L, width) gradient in the tokens of ``prompt`` that a rule gathers over steps before it moves
            them; None where there is none.
    """

    prompt: TextEmbedding
    null: TextEmbedding
    others: Mapping[str, TextEmbedding] = field(default_factory=dict)
    words: tuple[Texts, ...] = ()
    null_at_start: TextEmbedding | None = None
    prompt_at_start: TextEmbedding | None = None
    prompt_slope: Tensor | None = None

    @property
    def first_null(self) -> TextEmbedding:
        """The null text as the run began."""
        return self.null if self.null_at_start is None else self.null_at_start

    @property
    def first_prompt(self) -> TextEmbedding:
        """The prompt as the run began."""
        return self.prompt if self.prompt_at_start is None else self.prompt_at_start

    def with_null(self, null: TextEmbedding) -> TextCondition:
        """The same texts against another null text."""
        return replace(self, null=null, null_at_start=self.first_null)

    def with_prompt(self, prompt: TextEmbedding) -> TextCondition:
        """Another prompt against the same null text."""
        return replace(self, prompt=prompt, prompt_at_start=self.first_prompt)

    def role(self, name: str) -> TextEmbedding:
        """The text of a role; the prompt where the role has no text of its own."""
        return self.null if name == "null" else self.others.get(name, self.prompt)


def check_unicode(field: str, values: Iterable[object]) -> None:
    """Raise FieldError for a text with halves of characters, which no tokenizer takes.

    Python makes them of bytes of a command line that are not UTF-8, and JSON may spell them.
    """
    for text in values:
        if isinstance(text, str) and (readable := text.encode(errors="backslashreplace").decode()) != text:
            raise FieldError(field, readable, "is no valid UTF-8; use a terminal, or save the file, in UTF-8")
