"""What variants are called: after the text that they have, and in reports with what tells them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treg_exp.data.prompts import FixedPrompt, ManifestPrompt, PromptFromCaption, RandomCaption
from treg_exp.engine.work import Variant
from treg_exp.reports.columns import VARIANT_LABELS, variant_label
from treg_exp.text.match.base import NoTextMatch
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.prompt_rule import FixedPromptRule

#: Role of a text -> name of the variant that has it; others are called after the role.
ROLES = {
    "caption": "own", "name": "own", "counterfactual": "counterfactual", "counterfactual_name": "counterfactual",
    "style": "style_word", "other_1": "other_1", "other_2": "other_2",
}  # fmt: skip
EMPTY = ("no_text", "empty_prompt")
#: Names that say which text a variant has -> what it may then be.
PROMISES = {name: (name,) for name in (*ROLES.values(), "random_caption", "fixed_text")} | {
    "no_text": EMPTY, "none": EMPTY, "empty_prompt": EMPTY
}  # fmt: skip
SHOWN_SETTINGS, SHOWN_LETTERS = 3, 24  # of a label, and of a value in it


def text_name(variant: Variant, by_solver: bool = False) -> str:
    """The name that says which text a variant has; for a prompt of the user's own it is that of its class.

    Args:
        variant: to be named.
        by_solver: whether the solver reads the prompt, whatever the rules of the variant do.
    """
    prompt, policy = variant.texts["prompt"], variant.policy
    if isinstance(prompt, FixedPrompt) and not prompt.text.strip():
        return EMPTY[0] if policy.without_text and not by_solver else EMPTY[1]
    if not (policy.reads_prompt or by_solver):
        nothing = _null_is_empty(variant) and isinstance(policy.null_text, FixedNullText)
        return EMPTY[0] if nothing else "null_text_alone"
    if isinstance(prompt, FixedPrompt):
        return "fixed_text"
    if isinstance(prompt, PromptFromCaption | ManifestPrompt):
        return ROLES.get(prompt.role) or _safe(f"{prompt.role}_text")
    if isinstance(prompt, RandomCaption):
        return "random_caption"
    return _safe(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(prompt).__name__).lower())


def true_names(variants: Mapping[str, Variant], by_solver: bool = False) -> dict[str, str]:
    """Name in the configuration -> name in the run, which differs where the first one promises another text.

    So ``experiment=single prompt=empty``, whose variant is called ``own``, is not reported as the own text.

    Args:
        variants: by their names in the configuration.
        by_solver: see `text_name`.
    """
    names: dict[str, str] = {}
    for name, variant in variants.items():
        is_ = text_name(variant, by_solver)
        names[name] = name if is_ in PROMISES.get(name, (is_,)) else is_
    kept = {name for name, new in names.items() if name == new}
    for name, new in names.items():
        if name != new:
            options = (new if i == 1 else f"{new}_{i}" for i in range(1, len(names) + 2))
            names[name] = next(option for option in options if option not in kept)
            kept.add(names[name])
    return names


def variant_labels(variants: Mapping[str, Variant]) -> dict[str, str]:
    """What reports call the variants: those whose names say nothing of the text with the settings that differ.

    They are compared with the first variant that has the same texts, and that one with the others. One that promises no
    text, and has some besides its empty prompt, is told with that.
    """
    settings = {name: _settings(variant) for name, variant in variants.items()}
    labels = {}
    for name, variant in variants.items():
        alike = [other for other in variants if _same_texts(variants[other], variant)]
        compared = [settings[other] for other in (alike if name == alike[0] else alike[:1])]
        varied = [key for key in settings[name] if any(of.get(key) != settings[name][key] for of in compared)]
        promised = PROMISES.get(name) == EMPTY
        told = _other_text(variant) if promised else [] if name in VARIANT_LABELS else varied[:SHOWN_SETTINGS]
        called = variant_label(EMPTY[1] if promised and told else name)
        labels[name] = ", ".join([called, *(f"{key}={_shown(settings[name][key])}" for key in told)])
    return labels


def _other_text(variant: Variant) -> list[str]:
    """The settings by which text acts besides the prompt; none where nothing but an empty text is ever read."""
    policy = variant.policy
    guidance, null_text, prompt_rule, text_match = policy.slots.values()
    found: list[str] = []
    if policy.reads_null:
        if not _null_is_empty(variant):
            found.append("texts.null" if "null" in variant.texts else "null_text.text")
        if not isinstance(null_text, FixedNullText):
            found.append("null_text")
        if found and policy.weight != 1:
            found.insert(0, "text_weight")
        elif found:
            found.insert(0, "guidance.scale" if hasattr(guidance, "scale") else "guidance")
    if not policy.weight:
        return found
    found += [f"texts.{role}" for role in sorted(getattr(guidance, "roles", ())) if role in variant.texts]
    if not isinstance(prompt_rule, FixedPromptRule):
        found.append("prompt_rule")
    return found if isinstance(text_match, NoTextMatch) else [*found, "text_match"]


def _null_is_empty(variant: Variant) -> bool:
    null = variant.texts.get("null", FixedPrompt(variant.policy.null_text.text))
    return isinstance(null, FixedPrompt) and not null.text.strip()


def _same_texts(one: Variant, other: Variant) -> bool:
    def texts(variant: Variant) -> list[Any]:
        return [(role, type(text), _values(text)) for role, text in sorted(variant.texts.items())]

    return texts(one) == texts(other)


def _settings(variant: Variant) -> dict[str, Any]:
    """The rules of a variant as one line of values: ``guidance`` is the class, ``guidance.scale`` a field of it."""
    found: dict[str, Any] = {"text_weight": variant.policy.weight}
    for slot, rule in [*variant.policy.slots.items(), *((f"texts.{role}", of) for role, of in variant.texts.items())]:
        found[slot] = type(rule).__name__
        found |= {f"{slot}.{name}": value for name, value in _values(rule).items()}
    return found


def _values(piece: object) -> dict[str, Any]:
    """The fields of a text or a rule, and the values of mappings in them, that can be compared and shown."""
    plain = (str, int, float, Path, type(None))
    fields = {name: value for name, value in getattr(piece, "__dict__", {}).items() if not name.startswith("_")}
    inner = {f"{n}.{key}": v for n, of in fields.items() if isinstance(of, Mapping) for key, v in of.items()}
    return {name: value for name, value in {**fields, **inner}.items() if isinstance(value, plain)}


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value) or "''"
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 3]}..."


def _safe(name: str) -> str:
    """A name that can be a folder."""
    return re.sub(r"\W+", "_", name)
