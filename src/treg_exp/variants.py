"""The variants of a configuration: named settings of the text, and where each of their parts stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.building import build
from treg_exp.configuration.names import check_names
from treg_exp.configuration.places import errors_at
from treg_exp.data.base import Source, text_tables
from treg_exp.data.prompts import Prompt
from treg_exp.engine.work import Variant
from treg_exp.errors import ConfigError, nearest
from treg_exp.quoting import shell
from treg_exp.solvers.base import Solver
from treg_exp.text.guidance.base import Guidance
from treg_exp.text.match.base import TextMatch
from treg_exp.text.null_text.base import NullText
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_rule import PromptRule
from treg_exp.variant_names import true_names

SLOTS: Mapping[str, type] = {
    "guidance": Guidance, "null_text": NullText, "prompt_rule": PromptRule, "text_match": TextMatch
}  # fmt: skip


def build_variants(cfg: DictConfig, solver: Solver) -> tuple[dict[str, Variant], dict[str, dict[str, str]]]:
    """The variants by name, and for each where its texts and rules stand in the configuration.

    A name that promises another text than the variant has is replaced, see `true_names`.
    """
    nodes = _variant_nodes(cfg)
    places = {name: _places(name, node, cfg) for name, node in nodes.items()}
    built = {name: _variant(name, node, cfg, places[name]) for name, node in nodes.items()}
    names = true_names(built, solver.reads_prompt)
    variants = {names[name]: replace(variant, name=names[name]) for name, variant in built.items()}
    return variants, {names[name]: of for name, of in places.items()}


def _variant_nodes(cfg: DictConfig) -> Mapping[str, Any]:
    """The nodes of the variants by name; without any, one of the groups above."""
    nodes: Any = cfg.variants or {"own": None}
    if not isinstance(nodes, Mapping):
        raise ConfigError(f"variants={nodes}: must be a mapping of names to variants")
    check_names(nodes, "variants")
    check_names(cfg.texts, "texts")
    return nodes


def _places(name: str, node: DictConfig | None, cfg: DictConfig) -> dict[str, str]:
    """Where the texts and the rules of a variant stand: in itself where it names them, else in the groups above."""
    allowed = ("prompt", *SLOTS, "text_weight", "texts", "optional")
    if not isinstance(node, DictConfig | None):
        raise ConfigError(f"variants.{name}={node}: must be a mapping with any of {', '.join(allowed)}")
    if unknown := set(node or {}) - set(allowed):
        raise ConfigError(
            f"variants.{name}.{sorted(map(str, unknown))[0]}: unknown; a variant has {', '.join(allowed)}"
        )
    node, own = node or OmegaConf.create({}), f"variants.{name}"
    groups = {group: group if node.get(group) is None else f"{own}.{group}" for group in ("prompt", *SLOTS)}
    further = node.get("texts") or {}
    if not isinstance(further, Mapping):
        raise ConfigError(f"{own}.texts={further}: must be a mapping of roles to texts")
    check_names(further, f"{own}.texts")
    for place, roles in (("", cfg.texts), (f"{own}.", further)):
        if "prompt" in roles:
            raise ConfigError(f"{place}texts.prompt: nothing reads it, the prompt itself is {place}prompt")
    texts = {f"texts.{role}": f"texts.{role}" for role in cfg.texts}
    return {**groups, **texts, **{f"texts.{role}": f"{own}.texts.{role}" for role in further}}


def _variant(name: str, node: DictConfig | None, cfg: DictConfig, places: Mapping[str, str]) -> Variant:
    """A variant: its own prompt, texts and rules where it names them, else those of the groups."""

    def piece(group: str, kind: type) -> Any:
        own = None if node is None else node.get(group)
        if own is None:
            return build(cfg[group], group, kind)
        if isinstance(own, str):
            key = f"variants.{name}.{group}"
            raise ConfigError(f"{key}={own}: a variant gets an option of a group with {shell(f'+{group}@{key}={own}')}")
        if isinstance(own, DictConfig) and "_target_" not in own:  # some values only: the others are the group's
            base, values = (OmegaConf.to_container(part, resolve=True) for part in (cfg[group], own))
            own = {**base, **values}  # type: ignore[dict-item]
        return build(own, places[group], kind)

    optional = node.get("optional", False) if node else False
    if not isinstance(optional, bool):
        raise ConfigError(f"variants.{name}.optional={optional}: must be true or false")
    roles = {**cfg.texts, **((node.get("texts") or {}) if node else {})}
    texts = {role: build(text, places[f"texts.{role}"], Prompt) for role, text in roles.items()}
    rules = {slot: piece(slot, kind) for slot, kind in SLOTS.items()}
    own = None if node is None else node.get("text_weight")
    key, weight = ("text_weight", cfg.text_weight) if own is None else (f"variants.{name}.text_weight", own)
    with errors_at("", renamed={"weight": key}):
        policy = TextPolicy(**rules, weight=weight)
    return Variant(name, {**texts, "prompt": piece("prompt", Prompt)}, policy, optional)


def check_texts(source: Source, variants: Mapping[str, Variant], places: Mapping[str, Mapping[str, str]]) -> None:
    """Resolve the texts of every variant that must have them all, so that a missing one is named with its prompt."""
    table, all_texts = text_tables(source)
    for name, variant in variants.items():
        for role, prompt in {} if variant.optional else variant.texts.items():
            with errors_at(places[name]["prompt" if role == "prompt" else f"texts.{role}"]):
                prompt.resolve(table, all_texts)


def check_roles(variants: Mapping[str, Variant], solver: Solver, places: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a text whose role nothing reads: neither the solver nor a rule of a variant that has the text.

    Raises:
        ConfigError: about the first such text.
    """
    told: dict[str, str] = {}  # place -> role
    read: dict[str, str] = {}  # those of them that are read
    known: set[str] = set()
    for name, variant in variants.items():
        roles = {"prompt", "null", *solver.roles, *variant.policy.roles}
        of_variant = {places[name].get(f"texts.{role}", role): role for role in variant.texts}
        told |= of_variant
        read |= {place: role for place, role in of_variant.items() if role in roles}
        known |= roles
    for place, role in told.items():
        if place not in read:
            hint = nearest(role, known) or f"; guidance=composed guidance.weights='{{{role}: 1}}' would"
            raise ConfigError(f"{place}: nothing reads a text of this role{hint}")
