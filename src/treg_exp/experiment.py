"""One experiment: every piece that a configuration names, built and checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.building import build
from treg_exp.configuration.identity import identity, run_dir
from treg_exp.configuration.keys import OPTIONAL
from treg_exp.configuration.names import check_name, check_names, check_sample_ids
from treg_exp.configuration.places import errors_at
from treg_exp.configuration.settings import DataSettings, RunSettings, check_count, prepared, settings
from treg_exp.configuration.trajectory import TrajectorySettings
from treg_exp.data.base import Source, left_out, subset
from treg_exp.data.sample import Sample
from treg_exp.engine.costs import COSTS, OF_BATCH, cost_columns
from treg_exp.engine.devices import TrainerSettings
from treg_exp.engine.launcher import Place
from treg_exp.engine.mirror import RunMirror
from treg_exp.engine.outcome import is_job
from treg_exp.engine.plan import Plan, batches, pending, plan, spread
from treg_exp.engine.row_files import shared_pictures
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.work import Variant
from treg_exp.errors import ConfigError
from treg_exp.loggers import build_loggers
from treg_exp.metrics.base import Measure
from treg_exp.metrics.chosen import Measures
from treg_exp.metrics.column import Columns
from treg_exp.priors.prior import PriorSpec
from treg_exp.priors.stacked import info_for_signals
from treg_exp.priors.texts.window import cut_notes
from treg_exp.signals.media import medium
from treg_exp.solvers.base import OnStep, Solver
from treg_exp.solvers.last_projection import LastProjection, Projected
from treg_exp.sources import SIZES, build_source, signal_shape
from treg_exp.tasks.base import Task, group_of
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.variant_names import variant_labels
from treg_exp.variants import build_variants, check_roles, check_texts

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
        trajectory: which restorations are recorded step by step.
        task: what is measured.
        solver: how it is restored.
        variants: text settings by name.
        source: the signals.
        metrics: judges of restorations and of sets of them.
        loggers: mirrors of the run, such as W&B's.
        items: all work items, in order.
        prior: knows the prior without its weights, and loads it.
        folder: the run folder.
        group: name of the sweep that it is a job of, None where it is none.
    """

    config: dict[str, Any]
    identity: dict[str, Any]
    settings: RunSettings
    data: DataSettings
    trainer: TrainerSettings
    trajectory: TrajectorySettings
    task: Task
    solver: Solver
    variants: Mapping[str, Variant]
    source: Source
    metrics: Measures
    loggers: Sequence[RunMirror]
    items: Plan
    prior: PriorSpec
    folder: RunFolder
    group: str | None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Experiment:
        """Build and check everything but the weights.

        Raises:
            ConfigError: the first thing that cannot work.
        """
        cfg = prepared(cfg)
        run, data = settings(RunSettings, cfg), settings(DataSettings, cfg.data, "data")
        prior: PriorSpec = build(cfg.prior, "prior", PriorSpec)
        with errors_at("prior", _plain(cfg.prior)):
            prior.check()
            info = prior.info
        solver: Solver = build(cfg.solver, "solver", Solver)
        if "last_step" in cfg:
            solver = Projected(solver, build(cfg.last_step, "last_step", LastProjection))
        variants, places = build_variants(cfg, solver)
        with errors_at("data", _plain(cfg.data)):
            source = subset(build_source(cfg.data, info), data.limit, data.offset)
        check_sample_ids(source.ids, "data")
        check_count(len(source) * len(variants), run.draws)
        check_texts(source, variants, places)
        check_roles(variants, solver, places)
        task: Task = build(cfg.task, "task", Task)
        check_name(task.name, "task.name")
        check_names(getattr(task, "tasks", ()), "task.tasks")
        check_names(cfg.metrics, "metrics")
        with errors_at("task", _plain(cfg.task)):
            items = plan(source, list(variants.values()), run.draws, partial(group_of, task))
        for name, variant in variants.items():
            with errors_at("", renamed=places[name]):
                variant.policy.check(info, items.told(name))
            with errors_at("solver", renamed=places[name]):
                solver.check_policy(variant.policy)
        folder = RunFolder(run_dir(cfg), items)
        measures = {name: build(node, f"metrics.{name}", Measure) for name, node in cfg.metrics.items()}
        return cls(
            config=_plain(cfg),
            identity=identity(cfg),
            settings=run,
            data=data,
            trainer=settings(TrainerSettings, cfg.trainer, "trainer", partly=False),
            trajectory=settings(TrajectorySettings, cfg.trajectory, "trajectory", partly=False),
            task=task,
            solver=solver,
            variants=variants,
            source=source,
            metrics=Measures(measures),
            loggers=build_loggers(cfg.logger, folder.path),
            items=items,
            prior=prior,
            folder=folder,
            group=folder.path.absolute().parent.name if is_job(folder.path) else None,
        ).checked()

    def checked(self) -> Experiment:
        """Pose the first problem of every task: what does not fit is found now, not after loading a model."""
        if not self.items:
            raise ConfigError("nothing to do: no image has a text for any variant")
        info = self.prior.info
        with errors_at("prior"):
            medium(info.medium, info.sample_rate)
        with errors_at("metrics"):
            _ = self.kinships
        size = {"signal_shape": f"data.{SIZES[info.medium]}"}
        with errors_at("data", renamed=size):
            self.prior.info.latent_shape(self.signal_shape)
        for name, (_, problem) in self.first_problems.items():
            info = info_for_signals(self.prior.info, problem.signal_shape)
            place = f"task.tasks.{name}" if name else "task"
            named = {"problem": place, "operator": f"{place}.operator", "prior": "prior"}
            named |= {key: key for key in OPTIONAL if key in self.config}
            with errors_at("solver", renamed={**named, **size}):
                self.solver.check(problem, info)
        return self

    @cached_property
    def kinships(self) -> list[str]:
        """What to know of judges that are relatives of what guides; see ``Measures.check``, which may refuse them."""
        pieces = {f"variants.{name}": variant.policy for name, variant in self.variants.items()}
        solver = self.solver.of if "last_step" in self.config and isinstance(self.solver, Projected) else self.solver
        of_run = {"prior": self.prior, "solver": solver, **pieces}
        return self.metrics.check(self.prior.info.medium, (*COSTS, *OF_BATCH), of_run)

    @cached_property
    def signal_shape(self) -> tuple[int, ...]:
        """Native shape of the signals: the prior's, with the size that the data asks for."""
        return signal_shape(self.config["data"], self.prior.info)

    @cached_property
    def first_problems(self) -> dict[str, tuple[Sample, Problem]]:
        """The first sample of every task (of a run with one task its name is empty), and its problem on the CPU.

        Raises:
            ConfigError: (by the first access) the task and the sample do not fit.
        """
        found = {}
        for name, item in {item.task: item for item in reversed(self.items)}.items():
            with errors_at("task", self.config["task"]):
                sample = self.source[item.index]
                found[name] = sample, self.task.pose([sample], self.signal_shape, torch.device("cpu"))
        return found

    @cached_property
    def assumption(self) -> str:
        """What the operator takes for granted of real measurements; nothing where they are made of targets."""
        sample, problem = self.first_problems[self.items[0].task]
        if sample.measurement is None or not isinstance(problem, InverseProblem):
            return ""
        return problem.operator.assumption

    @property
    def cautions(self) -> list[str]:
        """What the solver has to say about rules of text; with the variants, unless it is about all of them."""
        found: dict[str, list[str]] = {}
        for name, variant in self.variants.items():
            for caution in self.solver.cautions(variant.policy):
                found.setdefault(caution, []).append(name)
        everywhere = len(self.variants)
        return [text if len(names) == everywhere else f"{', '.join(names)}: {text}" for text, names in found.items()]

    @property
    def notes(self) -> list[str]:
        """What a user should know before the run, and what stops nothing (see what it calls)."""
        null_texts = (variant.policy.null_text.text for variant in self.variants.values())
        texts = dict.fromkeys(text for item in self.items for text in item.texts.values())
        cut = cut_notes(self.prior.info.text_windows, [*null_texts, *texts])
        about_data = filter(None, (self.assumption, left_out(self.source)))
        return [*about_data, *self.cautions, *self.metrics.cautions(self.prior.name), *self.kinships, *cut]

    @cached_property
    def columns(self) -> Columns:
        """What the numbers of the run mean."""
        info = self.prior.info
        noun = medium(info.medium, info.sample_rate).noun
        known, labels = {**self.metrics.columns, **cost_columns(noun)}, variant_labels(self.variants)
        made = {self.metrics.scored_by: self.metrics.versions}
        return Columns(known, info.medium, info.sample_rate, labels, made)

    @cached_property
    def title(self) -> str:
        """Task, solver and prior in one line."""
        steps = f", {self.solver.steps} steps" if self.solver.steps else ""
        return f"{self.task.title} - {self.solver.title}{steps} - prior {self.prior.name}"

    def open_folder(self) -> None:
        """Create or continue the run folder; what is damaged there counts as not done."""
        self.folder.open(self.config, self.identity)
        self.folder.check_prior(getattr(self.prior, "files", ()))
        shared = {name: shared_pictures(*first) for name, first in self.first_problems.items()}
        self.folder.drop_damaged(self.columns.known, shared)

    def pending_batches(self, place: Place | None = None, anew: bool = False) -> Sequence[Sequence[int]]:
        """Batches of what is still to be done (``anew``: of everything), enough of them for every process."""
        positions = range(len(self.items)) if anew else pending(self.folder.finished())
        processes = self.trainer.processes(place or Place()) * self.trainer.num_nodes
        return spread(self.items, positions, self.data.batch_size, processes)

    def module(self, on_step: OnStep) -> RestorationModule:
        """The Lightning module of this experiment."""
        from treg_exp.engine.module import RestorationModule

        return RestorationModule(
            self.prior, self.task, self.solver, self.variants, self.metrics.of_restorations, self.settings.seed,
            self.signal_shape, on_step, self.trajectory, self.metrics.scored_by,
        )  # fmt: skip

    def probes(self) -> list[WorkBatch]:
        """The first batch of every variant and task (a dry run times them)."""
        from treg_exp.engine.module import WorkBatch

        first: dict[tuple[str, str], Sequence[int]] = {}
        for batch in batches(self.items, range(len(self.items)), self.data.batch_size):
            first.setdefault(self.items[batch[0]].together, batch)
        items = ([self.items[position] for position in batch] for batch in first.values())
        return [WorkBatch(batch, [self.source[item.index] for item in batch]) for batch in items]


def _plain(cfg: DictConfig) -> dict[str, Any]:
    values: dict[str, Any] = OmegaConf.to_container(cfg)  # type: ignore[assignment]
    return values
