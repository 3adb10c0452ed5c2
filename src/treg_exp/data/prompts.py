"""Which text goes to which sample. All texts are resolved, and errors found, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from treg_exp.data.listing import first_few
from treg_exp.data.manifest import match, read_manifest
from treg_exp.errors import FieldError

Texts = Sequence[tuple[str, Mapping[str, str]]]  # (sample_id, captions by role)


class Prompt(Protocol):
    """A rule from samples to prompts."""

    def resolve(self, samples: Texts) -> list[str]:
        """One prompt per sample, in order.

        Args:
            samples: (sample_id, captions by role) of every sample.

        Raises:
            FieldError: a sample has no text in the role; the message names them.
            FileError: a manifest lacks a sample.
        """
        ...


class PromptFromCaption:
    """The text that the data set has for each image in one role.

    Args:
        role: ``caption``, ``counterfactual`` or any other role of the data.
        template: text around it; ``{text}`` is replaced.
    """

    def __init__(self, role: str = "caption", template: str = "{text}") -> None:
        if "{text}" not in template:
            raise FieldError("template", template, "must contain {text}, where the caption goes")
        self.role = role
        self.template = template

    def resolve(self, samples: Texts) -> list[str]:
        """See :class:`Prompt`."""
        return [self.template.replace("{text}", text) for text in texts_in_role(samples, self.role, "the data")]


class FixedPrompt:
    """The same text for every image; the empty text stands for *without text*.

    Args:
        text: the prompt.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FieldError("text", text, "must be text, as 'a red apple'")
        self.text = text

    def resolve(self, samples: Texts) -> list[str]:
        """See :class:`Prompt`."""
        return [self.text] * len(samples)


class ManifestPrompt:
    """Texts from a CSV or JSONL file of its own, whatever captions the data set has.

    Args:
        path: prompt manifest, see ``docs/data.md``.
        role: column (CSV) or key (JSONL) that holds the prompt.
    """

    def __init__(self, path: str | Path, role: str = "caption") -> None:
        self.path = Path(path)
        self.role = role
        self.texts = read_manifest(path)

    def resolve(self, samples: Texts) -> list[str]:
        """See :class:`Prompt`."""
        match(self.texts, {sample_id: sample_id for sample_id, _ in samples}, self.path)
        rows = [(sample_id, self.texts[sample_id]) for sample_id, _ in samples]
        return texts_in_role(rows, self.role, f"prompt manifest {self.path.name}")


def texts_in_role(samples: Texts, role: str, owner: str) -> list[str]:
    """The text of every sample in one role.

    Raises:
        FieldError: samples have none; the message names them and all roles that there are.
    """
    missing = [sample_id for sample_id, texts in samples if not texts.get(role)]
    if missing:
        roles = sorted({name for _, texts in samples for name, text in texts.items() if text})
        raise FieldError(
            "role", role, f"{owner} has no such text for {len(missing)} of {len(samples)} samples: "
            f"{first_few(missing)}; roles with a text: {', '.join(roles) or 'none'}"
        )  # fmt: skip
    return [texts[role] for _, texts in samples]
