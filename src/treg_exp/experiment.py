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
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.work import Key, Variant, WorkItem, batches, pending, plan, spread
from treg_exp.errors import ConfigError
from treg_exp.metrics.base import Metric
from treg_exp.tasks.inverse import InverseTask
from treg_exp.priors.info import PriorInfo, read_prior_info
from treg_exp.priors.precision import check_precision
from treg_exp.solvers.base import OnStep, Solver
from treg_exp.text.guidance import Guidance
from treg_exp.text.null_text import NullText
from treg_exp.text.policy import TextPolicy

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
        prior_info: sizes and widths of the prior, read without its weights.
        load_prior: loads it, called with ``device=...``.
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
    prior_info: PriorInfo
    load_prior: Callable[..., Any]
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
        open_clip = build(cfg.prior.open_clip, "prior.open_clip") if cfg.prior.open_clip else None
        spacing = cfg.prior.get("timestep_spacing")
        info = _named_error(
            "prior", lambda: read_prior_info(cfg.prior.path, cfg.prior.image_encoder, open_clip, spacing)
        )
        _named_error("prior", lambda: check_precision(cfg.prior.precision))
        variants = _variants(cfg)
        for variant in variants.values():
            _named_error("null_text", partial(variant.policy.null_text.check, info))
        source = _named_error("data", lambda: subset(_source(cfg.data, info), data.limit, data.offset))
        items = _named_error("prompt", lambda: plan(source, list(variants.values()), run.draws))
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
            prior_info=info,
            load_prior=build(OmegaConf.merge(cfg.prior, {"_partial_": True}), "prior"),  # type: ignore[arg-type]
            folder=RunFolder(Path(run.run_dir) if run.run_dir and group is None else parent / config_hash(cfg)),
            group=group,
        ).checked()

    def checked(self) -> Experiment:
        """Measure the first sample: shapes that do not fit are found now, not after loading a model."""
        if not self.items:
            raise ConfigError("nothing to do: no image has a text for any variant")
        first = self.source[self.items[0].index]
        shape = (3, self.image_size, self.image_size)
        _named_error("data.image_size", lambda: self.prior_info.check_size(self.image_size))
        if first.measurement is None:
            fields = self.config["task"].get("operator")
            operator = _named_error("task", lambda: self.task.build(shape, [first.sample_id]), {"operator": fields})
        else:
            y = first.measurement[None]
            operator = _named_error("data", lambda: self.task.observe(y, shape, [first.sample_id])).operator
        _named_error("solver", lambda: self.solver.check(operator))
        if self.solver.steps:
            shift = getattr(self.solver, "alpha_shift", 0)
            _named_error("solver", lambda: self.prior_info.schedule.steps(self.solver.steps, shift))
        return self

    @cached_property
    def image_size(self) -> int:
        """Side of the square images."""
        wished = self.config["data"].get("image_size")
        return int(self.prior_info.image_size if wished is None else wished)

    @cached_property
    def title(self) -> str:
        """Task, solver and prior in one line."""
        solver = type(self.solver).__name__
        steps = f", {self.solver.steps} steps" if self.solver.steps else ""
        prior = Path(self.config["prior"]["path"]).name
        return f"{self.task.name}, sigma {self.task.noise.sigma:g} - {solver}{steps} - prior {prior}"

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
            self.load_prior, self.task, self.solver, self.variants, self.metrics, self.settings.seed,
            self.image_size, on_step,
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


def _variant(name: str, node: DictConfig | None, cfg: DictConfig) -> Variant:
    """A variant: its own prompt, guidance and null text where it names them, else those of the groups."""
    if not isinstance(node, DictConfig | None):
        raise ConfigError(f"variants.{name}={node}: must be a mapping with prompt, guidance, null_text or optional")
    if unknown := set(node or {}) - {"prompt", "guidance", "null_text", "optional"}:
        raise ConfigError(
            f"variants.{name}.{sorted(unknown)[0]}: unknown; a variant has prompt, guidance, null_text, optional"
        )

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
    policy = TextPolicy(piece("guidance", Guidance), piece("null_text", NullText))
    return Variant(name, piece("prompt", Prompt), policy, optional)


def _source(node: DictConfig, info: PriorInfo) -> Source:
    """The data set; ``image_size: null`` becomes the prior's."""
    own = {k: v for k, v in node.items() if k not in ("limit", "offset", "batch_size", "image_size")}
    if "image_size" in inspect.signature(get_object(node._target_)).parameters:  # real measurements keep their size
        own["image_size"] = info.image_size if node.image_size is None else node.image_size
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
