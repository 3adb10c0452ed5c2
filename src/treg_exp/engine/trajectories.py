"""Records how the restorations of a few samples come about, without a trace in their results, costs or failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from tqdm import tqdm

from treg_exp.configuration.trajectory import TrajectorySettings
from treg_exp.engine.work import WorkItem
from treg_exp.metrics.base import Metric, MetricInput, prompt_scores
from treg_exp.metrics.residual import residual
from treg_exp.priors.prior import Prior
from treg_exp.reports.trajectory import Trajectory
from treg_exp.schedule.levels import Level, Number, Prediction
from treg_exp.solvers.base import OnStep, StepInfo
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy

Point = dict[str, float | None]


class Recording:
    """Which restorations of a run are recorded, and whether that still works: a failure ends it, and nothing else.

    Args:
        settings: how many samples, and how many of their steps.
        metrics: by name; one that compares with texts gives the alignment.
    """

    def __init__(self, settings: TrajectorySettings, metrics: Mapping[str, Metric]) -> None:
        self.settings, self.metrics, self.broken = settings, metrics, False

    def of_batch(
        self, on_step: OnStep, items: Sequence[WorkItem], problem: Problem, prior: Prior, policy: TextPolicy
    ) -> TrajectoryRecorder | NotRecorded:
        """What watches the solver on a batch.

        Args:
            on_step: told as well.
            items: of the batch.
            problem: theirs.
            prior: whose calls are not counted.
            policy: theirs.
        """
        rows = [i for i, item in enumerate(items) if item.draw == 0 and item.index < self.settings.samples]
        if not rows or self.broken:
            return NotRecorded(on_step, policy)
        return TrajectoryRecorder(self, on_step, rows, items, problem, prior, policy)

    def fail(self, error: Exception) -> None:
        """Record nothing more in this process, and say why."""
        self.broken = True
        tqdm.write(f"trajectories: {type(error).__name__}: {error}; no more are recorded, results stay as they are")


class NotRecorded:
    """Of a batch without samples to record: the solver is left alone."""

    seconds = 0.0

    def __init__(self, on_step: OnStep, policy: TextPolicy) -> None:
        self.on_step, self.policy = on_step, policy

    def __call__(self, info: StepInfo) -> None:
        """See ``OnStep``."""
        self.on_step(info)

    def of_sample(self, i: int) -> Trajectory | None:
        """None."""
        return None


@dataclass(frozen=True)
class WatchedPolicy(TextPolicy):
    """The same rules; whoever watches learns at which level they were asked last."""

    asked: Callable[[Level, bool], None] = lambda level, guided: None

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See ``TextPolicy``."""
        self.asked(level, prior.text is not None)
        return super().predict(prior, z_t, level, text)


class TrajectoryRecorder:
    """An ``on_step`` that looks at some samples of a batch, each by itself: numbers do not depend on the others.

    Attributes:
        policy: to hand to the solver, so that the scale of each step is the one in use.
        seconds: that it has taken, which are none of the solver's.
    """

    def __init__(
        self, recording: Recording, on_step: OnStep, rows: Sequence[int], items: Sequence[WorkItem], problem: Problem,
        prior: Prior, policy: TextPolicy,
    ) -> None:  # fmt: skip
        self.recording, self.on_step, self.items, self.prior = recording, on_step, items, prior
        self.problems = {i: problem.alone(i) for i in rows}
        own = {field.name: getattr(policy, field.name) for field in fields(policy)}
        self.policy: TextPolicy = WatchedPolicy(**own, asked=self._asked)
        self.scale: Number | None = None
        self.seconds, self.total = 0.0, 0
        self.alignment_by: str | None = None
        self.points: dict[int, list[Point]] = {i: [] for i in rows}
        self.before: dict[int, Tensor] = {}

    def __call__(self, info: StepInfo) -> None:
        """See ``OnStep``."""
        if info.z_0 is not None and info.attempt is None and not self.recording.broken:
            _wait_for(info.z_0)
            start = time.perf_counter()
            try:
                with torch.no_grad():
                    self._record(info, info.z_0)
            except Exception as error:
                self.recording.fail(error)
            _wait_for(info.z_0)
            self.seconds += time.perf_counter() - start
        self.scale = None
        self.on_step(info)

    def of_sample(self, i: int) -> Trajectory | None:
        """What was recorded of a sample of the batch."""
        points = self.points.get(i)
        return Trajectory(self.total, self.alignment_by, tuple(points)) if points else None

    def _asked(self, level: Level, guided: bool) -> None:
        self.scale = self.policy.scale_at(level) if guided else None

    def _record(self, info: StepInfo, z_0: Tensor) -> None:
        self.total, index = info.total, info.move.index
        wanted = chosen_steps(info.total, self.recording.settings.points)
        for i in self.points:
            if index in wanted:
                self.points[i].append(self._point(i, info, z_0[i : i + 1]))
            if index + 1 in wanted:
                self.before[i] = z_0[i : i + 1].clone()

    def _point(self, i: int, info: StepInfo, z_0: Tensor) -> Point:
        item, problem, level = self.items[i], self.problems[i], info.move.now
        medium = self.prior.info.medium
        x = self.prior.decode(z_0).clamp(-1, 1)
        judged = MetricInput(x, None, problem, self.prior, [item.captions], medium, variant=item.variant)
        self.alignment_by, (alignment,) = prompt_scores(self.recording.metrics, judged, [item.texts["prompt"]])
        noisy = isinstance(problem, InverseProblem) and problem.measured and problem.sigma > 0
        before = self.before.pop(i, None)
        return {
            "step": info.move.index,
            "t": _of_sample(level.t, i),
            "sigma": _of_sample(level.sigma, i),
            "residual": float(residual(x, problem)) if noisy else None,  # type: ignore[arg-type]
            "alignment": alignment,
            "guidance": None if self.scale is None else _of_sample(self.scale, i),
            "change": None if before is None else float((z_0 - before).norm() / before.norm()),
        }


def chosen_steps(total: int, points: int) -> set[int]:
    """At most ``points`` of the steps 0 to ``total`` - 1, evenly spread: the last one, and of several the first."""
    if points >= total:
        return set(range(total))
    if points == 1:
        return {total - 1}
    return {round(k * (total - 1) / (points - 1)) for k in range(points)}


def _of_sample(value: Number, i: int) -> float:
    """The number of one sample among those of a level; of one with a number for each place their mean."""
    if not isinstance(value, Tensor):
        return float(value)
    own = value[i if len(value) > 1 else 0] if value.dim() else value
    return float(own.float().mean())


def _wait_for(tensor: Tensor) -> None:
    """Let a GPU come to its end, so that its time counts where it belongs."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
