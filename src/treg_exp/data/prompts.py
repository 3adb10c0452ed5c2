"""Which text goes to which sample. All texts are resolved, and errors found, before any model is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from treg_exp.data.listing import first_few
from treg_exp.data.manifest import match, read_manifest
from treg_exp.errors import FieldError, FileError
from treg_exp.noise import stream_seed

Texts = Sequence[tuple[str, Mapping[str, str]]]  # (sample_id, captions by role)


class Prompt(Protocol):
    """A rule from samples to prompts."""

    def resolve(self, samples: Texts, whole: Texts | None = None) -> list[str]:
        """One prompt per sample, in order.

        Args:
            samples: (sample_id, captions by role) of every sample that is asked for.
            whole: the same of the whole data set, whatever part of it a run takes; None for ``samples``. A rule that
                looks at other samples takes them from here, so that no limit changes a prompt.

        Raises:
            FieldError: a sample has no text in the role; the message names them.
            FileError: a manifest lacks a sample.
        """
        ...

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """The same with None for a sample without a text."""
        ...


class PromptRule(ABC):
    """A `Prompt` that says which texts there are, and what is wrong where one is missing."""

    @abstractmethod
    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See :class:`Prompt`."""

    def resolve(self, samples: Texts, whole: Texts | None = None) -> list[str]:
        """See :class:`Prompt`."""
        texts = self.found(samples, whole)
        present = [text for text in texts if text is not None]
        if len(present) < len(texts):
            missing = [sample_id for (sample_id, _), text in zip(samples, texts, strict=True) if text is None]
            raise self.lack(missing, samples)
        return present

    def lack(self, missing: Sequence[str], samples: Texts) -> FieldError | FileError:
        """What to say of samples without a text."""
        raise NotImplementedError  # of a rule that has a text for every sample


class PromptFromCaption(PromptRule):
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

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See :class:`Prompt`."""
        texts = (captions.get(self.role) for _, captions in samples)
        return [self.template.replace("{text}", text) if text else None for text in texts]

    def lack(self, missing: Sequence[str], samples: Texts) -> FieldError:
        """See :class:`PromptRule`."""
        return no_text_in_role(missing, [captions for _, captions in samples], self.role, "the data")


class RandomCaption(PromptRule):
    """The text of another sample, drawn among those that are alike: a control for what any text does.

    A sample's draw depends on its id, the seed and the texts of the whole data set; order, limit and the samples of a
    run are no part of it.

    Args:
        role: whose texts are drawn.
        same: role in which the other sample has the same text, as ``style``; None for any sample.
        unlike: role in which it must not have the same text, beside ``role`` itself; samples without a text in it are
            told apart by ``role`` alone. None for ``role`` alone.
        seed: of the draw.
    """

    def __init__(
        self, role: str = "caption", same: str | None = "style", unlike: str | None = "name", seed: int = 0
    ) -> None:
        self.role, self.same, self.unlike, self.seed = role, same, unlike, seed

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See :class:`Prompt`."""
        groups: dict[str, set[tuple[str, str]]] = {}  # of samples that are alike: texts in `role` and in `unlike`
        for _, texts in samples if whole is None else whole:
            if texts.get(self.role):
                groups.setdefault(_in_role(texts, self.same), set()).add(
                    (texts[self.role], _in_role(texts, self.unlike))
                )
        ordered = {group: sorted(members) for group, members in groups.items()}
        return [self._draw(sample_id, texts, ordered) for sample_id, texts in samples]

    def lack(self, missing: Sequence[str], samples: Texts) -> FieldError:
        """See :class:`PromptRule`."""
        alike = f" with the same {self.same}" if self.same else ""
        return FieldError(
            "same", self.same, f"{len(missing)} of {len(samples)} samples: {first_few(missing)} have no other "
            f"sample{alike} that has another {self.role}; null takes any sample"
        )  # fmt: skip

    def _draw(
        self, sample_id: str, texts: Mapping[str, str], groups: Mapping[str, Sequence[tuple[str, str]]]
    ) -> str | None:
        """The drawn text of the sample's group or, where that is its own, the next one; None without another."""
        alike, own, name = _in_role(texts, self.same), texts.get(self.role, ""), _in_role(texts, self.unlike)
        group = groups.get(alike, ()) if alike or self.same is None else ()
        start = stream_seed(self.seed, sample_id, "random caption")
        rotated = (group[(start + step) % len(group)] for step in range(len(group)))
        return next((text for text, other in rotated if text != own and (not name or other != name)), None)


class FixedPrompt(PromptRule):
    """The same text for every image; the empty text stands for *without text*.

    Args:
        text: the prompt.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FieldError("text", text, "must be text, as 'a red apple'")
        self.text = text

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See :class:`Prompt`."""
        return [self.text] * len(samples)


class ManifestPrompt(PromptRule):
    """Texts from a CSV or JSONL file of its own, whatever captions the data set has.

    Args:
        path: prompt manifest, see ``docs/data.md``.
        role: column (CSV) or key (JSONL) that holds the prompt.
    """

    def __init__(self, path: str | Path, role: str = "caption") -> None:
        self.path = Path(path)
        self.role = role
        self.texts = read_manifest(path)

    def found(self, samples: Texts, whole: Texts | None = None) -> list[str | None]:
        """See :class:`Prompt`."""
        return [self.texts.get(sample_id, {}).get(self.role) for sample_id, _ in samples]

    def lack(self, missing: Sequence[str], samples: Texts) -> FieldError | FileError:
        """See :class:`PromptRule`."""
        try:
            match(self.texts, {sample_id: sample_id for sample_id, _ in samples}, self.path)
        except FileError as error:
            return error
        rows = [self.texts[sample_id] for sample_id, _ in samples]
        return no_text_in_role(missing, rows, self.role, f"prompt manifest {self.path.name}")


def no_text_in_role(missing: Sequence[str], texts: Sequence[Mapping[str, str]], role: str, owner: str) -> FieldError:
    """What to say of samples that have no text in a role; ``texts`` of all samples say which roles there are."""
    roles = sorted({name for of_sample in texts for name, text in of_sample.items() if text})
    return FieldError(
        "role", role, f"{owner} has no such text for {len(missing)} of {len(texts)} samples: "
        f"{first_few(missing)}; roles with a text: {', '.join(roles) or 'none'}"
    )  # fmt: skip


def _in_role(texts: Mapping[str, str], role: str | None) -> str:
    return "" if role is None else texts.get(role, "")
