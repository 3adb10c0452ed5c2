"""One experiment: every piece that a configuration names, built and checked before a model is loaded."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from treg_exp.config import (
    DataSettings,
    RunSettings,
    TrainerSettings,
    build,
    check_complete,
    config_hash,
    identity,
    resolved,
    settings,
    without_steps,
)
from treg_exp.data.base import Source, subset
from treg_exp.data.prompts import Prompt
from treg_exp.engine.costs import COSTS, cost_columns
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.work import Variant, WorkItem, batches, pending, plan, spread
from treg_exp.errors import ConfigError, FieldError
from treg_exp.metrics.base import Metric, check_metrics, columns_of
from treg_exp.metrics.column import Columns
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import PriorSpec
from treg_exp.priors.stacked import info_for_signals
from treg_exp.run_layout import Key
from treg_exp.signals.media import medium
from treg_exp.solvers.base import OnStep, Solver
from treg_exp.tasks.base import Task
from treg_exp.text.guidance import Guidance
from treg_exp.text.match import TextMatch
from treg_exp.text.null_text import NullText
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_rule import PromptRule

if TYPE_CHECKING:
    from treg_exp.engine.module import RestorationModule, WorkBatch


@dataclass(frozen=True)
class Experiment:
    """Built pieces of one run; see ``from_config``.

    Attributes:
        config: the resolved configuration as plain values.
        identity: the part of it that decides the results.
        settings: seed, draws, run_dir, dry_run.
        data: limit, offset, batch size.
        trainer: devices and processes.
        task: what is measured.
        solver: how it is restored.
        variants: text settings by name.
        source: the images.
        metrics: judges by name.
        loggers: W&B mirrors.
        items: all work items, in order.
        prior: knows the prior without its weights, and loads it.
        folder: the run folder.
        group: joins the jobs of a multirun, None outside one.
    """

    config: dict[str, Any]
    identity: dict[str, Any]
    settings: RunSettings
    data: DataSettings
    trainer: TrainerSettings
    task: Task
    solver: Solver
    variants: Mapping[str, Variant]
    source: Source
    metrics: Mapping[str, Metric]
    loggers: Sequence[Any]
    items: Sequence[WorkItem]
    prior: PriorSpec
    folder: RunFolder
    group: str | None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Experiment:
        """Build and check everything but the weights.

        Raises:
            ConfigError: the first thing that cannot work.
        """
        check_complete(cfg)
        cfg = resolved(cfg)
        cfg.solver = without_steps(cfg.solver)
        run, data = settings(RunSettings, cfg), settings(DataSettings, cfg.data, "data")
        prior: PriorSpec = build(cfg.prior, "prior", PriorSpec)
        _named_error("prior", prior.check)
        info = prior.info
        variants = _variants(cfg)
        source = _named_error("data", lambda: subset(_source(cfg.data, info), data.limit, data.offset))
        items = _named_error("prompt", lambda: plan(source, list(variants.values()), run.draws))
        for name, variant in variants.items():
            texts = [item.texts for item in items if item.variant == name]
            _named_error(f"variants.{name}", partial(variant.policy.check, info, texts))
        parent, group = _parent(run.run_dir)
        return cls(
            config=OmegaConf.to_container(cfg),  # type: ignore[arg-type]
            identity=identity(cfg),
            settings=run,
            data=data,
            trainer=settings(TrainerSettings, cfg.trainer, "trainer"),
            task=build(cfg.task, "task", Task),
            solver=build(cfg.solver, "solver", Solver),
            variants=variants,
            source=source,
            metrics={name: build(node, f"metrics.{name}", Metric) for name, node in cfg.metrics.items()},
            loggers=[build(node, f"logger.{name}") for name, node in cfg.logger.items()],
            items=items,
            prior=prior,
            folder=RunFolder(Path(run.run_dir) if run.run_dir and group is None else parent / config_hash(cfg)),
            group=group,
        ).checked()

    def checked(self) -> Experiment:
        """Pose the problem of the first sample: what does not fit is found now, not after loading a model."""
        if not self.items:
            raise ConfigError("nothing to do: no image has a text for any variant")
        info = self.prior.info
        _named_error("prior", lambda: medium(info.medium, info.sample_rate))
        _named_error("metrics", lambda: check_metrics(self.metrics, info.medium, COSTS))
        first = self.source[self.items[0].index]
        _named_error("data.image_size", lambda: self.prior.info.latent_shape(self.signal_shape))
        problem = _named_error(
            "task" if first.measurement is None else "data",
            lambda: self.task.pose([first], self.signal_shape, torch.device("cpu")), self.config["task"],
        )  # fmt: skip
        info = info_for_signals(self.prior.info, problem.signal_shape)
        _named_error("solver", lambda: self.solver.check(problem, info))
        return self

    @cached_property
    def signal_shape(self) -> tuple[int, ...]:
        """Native shape of the signals: the prior's, with the size that the data asks for."""
        return _signal_shape(self.config["data"], self.prior.info)

    @cached_property
    def columns(self) -> Columns:
        """What the numbers of the run mean."""
        info = self.prior.info
        noun = medium(info.medium, info.sample_rate).noun
        return Columns({**columns_of(self.metrics), **cost_columns(noun)}, info.medium, info.sample_rate)

    @cached_property
    def title(self) -> str:
        """Task, solver and prior in one line."""
        solver = type(self.solver).__name__
        steps = f", {self.solver.steps} steps" if self.solver.steps else ""
        return f"{self.task.title} - {solver}{steps} - prior {self.prior.name}"

    def open_folder(self) -> None:
        """Create or continue the run folder."""
        self.folder.open(self.config, self.identity)

    def pending_batches(self, finished: Collection[Key] | None = None) -> list[list[WorkItem]]:
        """Batches of what is still to be done, enough of them for every process."""
        done = self.folder.finished() if finished is None else finished
        processes = self.trainer.devices * self.trainer.num_nodes
        return spread(pending(self.items, done), self.data.batch_size, processes)

    def module(self, on_step: OnStep) -> RestorationModule:
        """The Lightning module of this experiment."""
        from treg_exp.engine.module import RestorationModule

        return RestorationModule(
            self.prior, self.task, self.solver, self.variants, self.metrics, self.settings.seed,
            self.signal_shape, on_step,
        )  # fmt: skip

    def probes(self) -> list[WorkBatch]:
        """The first batch of every variant (a dry run times them)."""
        from treg_exp.engine.module import WorkBatch

        first: dict[str, list[WorkItem]] = {}
        for batch in batches(self.items, self.data.batch_size):
            first.setdefault(batch[0].variant, batch)
        return [WorkBatch(batch, [self.source[item.index] for item in batch]) for batch in first.values()]


def _variants(cfg: DictConfig) -> dict[str, Variant]:
    """The variants by name; without any, one of the groups above."""
    nodes: Any = cfg.variants or {"own": None}
    if not isinstance(nodes, Mapping):
        raise ConfigError(f"variants={nodes}: must be a mapping of names to variants")
    return {name: _variant(name, node, cfg) for name, node in nodes.items()}


SLOTS: Mapping[str, type] = {
    "guidance": Guidance, "null_text": NullText, "prompt_rule": PromptRule, "text_match": TextMatch
}  # fmt: skip


def _variant(name: str, node: DictConfig | None, cfg: DictConfig) -> Variant:
    """A variant: its own prompt, texts and rules where it names them, else those of the groups."""
    allowed = ("prompt", *SLOTS, "texts", "optional")
    if not isinstance(node, DictConfig | None):
        raise ConfigError(f"variants.{name}={node}: must be a mapping with any of {', '.join(allowed)}")
    if unknown := set(node or {}) - set(allowed):
        raise ConfigError(f"variants.{name}.{sorted(unknown)[0]}: unknown; a variant has {', '.join(allowed)}")

    def piece(group: str, kind: type) -> Any:
        own = None if node is None else node.get(group)
        if own is None:
            return build(cfg[group], group, kind)
        if isinstance(own, str):
            key = f"variants.{name}.{group}"
            raise ConfigError(f"{key}={own}: a variant gets an option of a group with '+{group}@{key}={own}'")
        if isinstance(own, DictConfig) and "_target_" not in own:  # some values only: the others are the group's
            own = OmegaConf.create({**cfg[group], **own})
        return build(own, f"variants.{name}.{group}", kind)

    optional = node.get("optional", False) if node else False
    if not isinstance(optional, bool):
        raise ConfigError(f"variants.{name}.optional={optional}: must be true or false")
    roles = {**cfg.texts, **(node.get("texts", {}) if node else {})}
    texts = {role: build(text, f"texts.{role}", Prompt) for role, text in roles.items()}
    policy = TextPolicy(**{slot: piece(slot, kind) for slot, kind in SLOTS.items()})
    return Variant(name, {**texts, "prompt": piece("prompt", Prompt)}, policy, optional)


SIZES = ("image_size", "length")  # what the data group calls the sides of a signal; null: the prior's
TOLD = ("image_size", "signal_shape", "sample_rate")  # what a data set is told of the prior's signals, if it asks


def _signal_shape(node: Mapping[str, Any], info: PriorInfo) -> tuple[int, ...]:
    """Native shape of the signals: the prior's, with the size that the data asks for."""
    native, wished = info.signal_shape, [node[name] for name in SIZES if node.get(name) is not None]
    return (native[0], *[int(wished[0])] * (len(native) - 1)) if wished else native


def _source(node: DictConfig, info: PriorInfo) -> Source:
    """The data set; it is told what it wants to know of the prior's signals."""
    kind = get_object(node._target_)
    if (made := getattr(kind, "medium", None)) not in (None, info.medium):
        raise FieldError("data", node._target_, f"gives {made}, and the prior makes {info.medium}; choose other data")
    shape = _signal_shape(node, info)
    told = dict(zip(TOLD, (shape[-1], list(shape), info.sample_rate), strict=True))
    own = {k: v for k, v in node.items() if k not in ("limit", "offset", "batch_size", *SIZES)}
    own |= {k: v for k, v in told.items() if k in inspect.signature(kind).parameters}
    source: Source = build(OmegaConf.create(own), "data", Source)
    return source


def _parent(run_dir: str | None) -> tuple[Path, str | None]:
    """Folder that holds the runs, and a name that all jobs of a multirun share (None outside one)."""
    if not (HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN):
        return Path("runs"), None
    if run_dir:
        return Path(run_dir), Path(run_dir).name
    command = hashlib.sha256("\x1f".join(sys.argv[1:]).encode()).hexdigest()
    return Path("runs"), f"sweep-{command[:8]}"


def _named_error(section: str, make: Callable[[], Any], fields: Any = None) -> Any:
    """``make()``, with the errors of wrong values turned into ConfigErrors that name the section.

    TypeErrors are among them: an operator is called late, with values that only it can judge. Where the message is on
    one of the nested ``fields`` of the section, it gets the whole key.
    """
    try:
        return make()
    except ConfigError:
        raise
    except (ValueError, TypeError, OSError) as error:
        message = str(error)
        named = message.startswith((section, "data.", "prompt.", "null_text"))
        if key := _key(fields, message.partition("=")[0]):
            raise ConfigError(f"{section}.{key}={message.partition('=')[2]}") from None
        raise ConfigError(message if named else f"{section}: {message}") from None


def _key(node: Any, name: str) -> str | None:
    """The dotted key that ends in ``name`` within nested values, if there is just one."""
    if not isinstance(node, Mapping):
        return None
    found = [name] if name in node else []
    found += [f"{child}.{key}" for child, values in node.items() if (key := _key(values, name))]
    return found[0] if len(found) == 1 else None
