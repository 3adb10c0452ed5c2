"""Which text goes to which sample. All texts are resolved, and errors found, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from treg_exp.data.listing import some
from treg_exp.data.manifest import match, read_manifest
from treg_exp.errors import ConfigError

Texts = Sequence[tuple[str, Mapping[str, str]]]  # (sample_id, captions by role)


class Prompt(Protocol):
    """A rule from samples to prompts."""

    def resolve(self, samples: Texts) -> list[str]:
        """One prompt per sample, in order.

        Args:
            samples: (sample_id, captions by role) of every sample.

        Raises:
            ConfigError: some sample has no prompt; the message names them.
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
            raise ConfigError(f"prompt.template={template!r} must contain {{text}}, where the caption goes")
        self.role = role
        self.template = template

    def resolve(self, samples: Texts) -> list[str]:
        """See :class:`Prompt`."""
        return [self.template.replace("{text}", text) for text in take(samples, self.role, "the data")]


class FixedPrompt:
    """The same text for every image; the empty text stands for *without text*.

    Args:
        text: the prompt.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ConfigError(f"prompt.text={text!r} must be text, such as prompt.text='a red apple'")
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
        return take(rows, self.role, f"prompt manifest {self.path.name}")


def take(samples: Texts, role: str, owner: str) -> list[str]:
    """The text of every sample in one role; the error names the samples without one and all roles."""
    missing = [sample_id for sample_id, texts in samples if not texts.get(role)]
    if missing:
        roles = sorted({name for _, texts in samples for name, text in texts.items() if text})
        raise ConfigError(
            f"{owner} has no text {role!r} for {len(missing)} of {len(samples)} samples: {some(missing)}; "
            f"roles with a text: {', '.join(roles) or 'none'}. Choose another prompt (prompt=fixed "
            "prompt.text='a red apple'), add the texts, or select "
            "the samples that have one (data=emoji_test: data.only=counterfactual)."
        )
    return [texts[role] for _, texts in samples]
