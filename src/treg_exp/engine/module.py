"""The Lightning module: pose, restore and judge one batch of work items."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from tqdm import tqdm

from treg_exp.configuration.trajectory import TrajectorySettings
from treg_exp.data.sample import Sample
from treg_exp.engine.costs import COSTS, OF_BATCH, PEAK_MEMORY
from treg_exp.engine.judging import Judges
from treg_exp.engine.peak_memory import PeakMemory, begin_peak
from treg_exp.engine.recovery import FirstNonFinite, MicroBatches, is_out_of_memory
from treg_exp.engine.shared_prior import SHARED_PRIOR, Loan
from treg_exp.engine.trajectories import Recording
from treg_exp.engine.work import Variant, WorkItem
from treg_exp.metrics.base import Metric, MetricInput
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.priors.counting import Calls, counted
from treg_exp.priors.prior import Prior, PriorSpec
from treg_exp.priors.stacked import for_signals
from treg_exp.reports.trajectory import Trajectory
from treg_exp.run_layout import KEY
from treg_exp.solvers.base import OnStep, Restoration, Solver
from treg_exp.tasks.base import Task
from treg_exp.tasks.problems import Problem

NON_FINITE = "non-finite"  # what the error of a restoration begins with that is none


@dataclass(frozen=True)
class WorkBatch:
    """Work items of one variant and task, and their samples.

    Attributes:
        items: those whose samples could be read.
        samples: theirs.
        lost: further items, and why their samples could not be read.
    """

    items: Sequence[WorkItem]
    samples: Sequence[Sample]
    lost: Sequence[tuple[WorkItem, str]] = ()


@dataclass(frozen=True)
class Result:
    """What became of one work item.

    Attributes:
        item: the work item.
        sample: its sample.
        problem: makes its problem, a batch of one on the CPU; the writer needs that of the first restoration only.
        preview: makes a signal of the measurement for pictures, computed at the first call; None where nothing is
            measured.
        signal: restored signal in [-1, 1] units, or None where it failed.
        row: the numbers, or ``error``.
        latents: further latents by name that the solver returned, of shape *latent_shape.
        trajectory: how the restoration came about, where that was recorded.
    """

    item: WorkItem
    sample: Sample
    problem: Callable[[], Problem]
    preview: Callable[[], Tensor] | None
    signal: Tensor | None
    row: dict[str, Any]
    latents: Mapping[str, Tensor] = field(default_factory=dict)
    trajectory: Trajectory | None = None


def lost(item: WorkItem, why: str) -> Result:
    """The result of an item whose sample could not be read: a file may vanish while a run works."""

    def problem() -> Problem:
        raise AssertionError("nothing was posed")

    row = {**dict(zip(KEY, item.key, strict=True)), **item.told, "error": why}
    return Result(item, Sample(item.sample_id), problem, None, None, row)


class RestorationModule(LightningModule):
    """Runs a solver over work items. It has no parameters: the prior is loaded on each device at the start.

    Args:
        prior_spec: loads the prior in every process.
        task: poses the problems.
        solver: solves them.
        variants: text settings by name.
        metrics: judges by name.
        seed: of the solver's random streams.
        signal_shape: native shape of the signals.
        on_step: told after every solver step (progress bar).
        trajectory: which restorations are recorded step by step.
        scored_by: hash of the versions of the metrics, see ``metrics/provenance.py``.
    """

    def __init__(
        self,
        prior_spec: PriorSpec,
        task: Task,
        solver: Solver,
        variants: Mapping[str, Variant],
        metrics: Mapping[str, Metric],
        seed: int,
        signal_shape: Sequence[int],
        on_step: OnStep,
        trajectory: TrajectorySettings | None = None,
        scored_by: str = "",
    ) -> None:
        super().__init__()
        self.prior_spec = prior_spec
        self.task, self.solver, self.variants = task, solver, variants
        self.judges, self.scored_by = Judges(metrics), scored_by
        self.recording = Recording(trajectory or TrajectorySettings(samples=0), metrics)
        self.seed, self.signal_shape, self.on_step = seed, tuple(signal_shape), on_step
        self.loan: Loan | None = None
        self.prior: Prior | None = None
        self.calls = Calls()
        self.micro_batches = MicroBatches()

    def on_predict_start(self) -> None:
        """Get the prior onto this process's device: loaded, or that of the last job where it is the same."""
        begin_peak()
        if self.prior is None:
            self.loan = SHARED_PRIOR.borrow(self.prior_spec, self.device)
            self.prior = self.loan.prior

    def on_predict_end(self) -> None:
        """Leave the prior to the next job of this process; after an error nobody comes here."""
        if self.loan is not None:
            SHARED_PRIOR.give_back(self.loan)
            self.loan = self.prior = None

    def transfer_batch_to_device(self, batch: WorkBatch, device: torch.device, dataloader_idx: int) -> WorkBatch:
        """Leave samples where they are; the task moves what it needs."""
        return batch

    def predict_step(self, batch: WorkBatch, batch_idx: int = 0) -> list[Result]:
        """Restore one batch, in parts where the memory is too small for it.

        A sample that comes out non-finite in half precision is restored once more in float32. What fails for good is
        named on stderr: its place in the run folder is easily overlooked.
        """
        assert self.prior is not None
        pairs = list(zip(batch.items, batch.samples, strict=True))
        results = self.micro_batches(pairs, self.restore)
        if self.prior.in_half_precision:
            for i, result in enumerate(results):
                if result.row.get("error", "").startswith(NON_FINITE):
                    results[i] = self.restore_in_float32(result)
        results += [lost(item, why) for item, why in batch.lost]
        for failed in (result for result in results if result.signal is None):
            item = failed.item
            told = f"{item.sample_id}, variant {item.variant}, draw {item.draw}: failed, {failed.row['error']}"
            tqdm.write(told, file=sys.stderr)  # on a line of its own, not behind the bar
        return results

    def restore(self, pairs: Sequence[tuple[WorkItem, Sample]]) -> list[Result]:
        """Restore some work items of one variant and task together."""
        assert self.prior is not None
        items, samples = [item for item, _ in pairs], [sample for _, sample in pairs]
        problem = self.task.pose(samples, self.signal_shape, self.device)
        one, self.calls = counted(self.prior)  # of several sources each counts
        prior = for_signals(one, problem.signal_shape)
        policy = self.variants[items[0].variant].policy
        noise = KeyedNoise([StreamKey(self.seed, item.sample_id, item.draw) for item in items])
        uncounted = for_signals(self.prior, problem.signal_shape)
        recorder = self.recording.of_batch(self.on_step, items, problem, uncounted, policy)
        watch = FirstNonFinite(recorder, len(items))
        memory, start = PeakMemory(self.device), time.perf_counter()
        text = policy.start(prior, [item.texts for item in items])
        restoration = self.solver.solve(problem, text, prior, recorder.policy, noise, watch)
        if restoration.signal.is_cuda:
            torch.cuda.synchronize(restoration.signal.device)
        spent = (time.perf_counter() - start - recorder.seconds, *astuple(self.calls))
        costs: dict[str, float | None] = {n: value / len(items) for n, value in zip(COSTS, spent, strict=True)}
        costs |= dict(zip(OF_BATCH, (memory.gigabytes, len(items)), strict=True))
        results = self.results(items, samples, problem, restoration, costs, watch)
        return [replace(result, trajectory=recorder.of_sample(i)) for i, result in enumerate(results)]

    def restore_in_float32(self, failed: Result) -> Result:
        """The same restoration in float32 arithmetic; its row says so. Where it fails again, it stays a failure."""
        assert self.prior is not None
        print(f"{failed.item.sample_id}: {failed.row['error']}; trying float32", file=sys.stderr, flush=True)
        note = f"{failed.row['error']} in half precision"
        try:
            with self.prior.in_float32():
                (again,) = self.restore([(failed.item, failed.sample)])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return replace(failed, row={**failed.row, "error": f"{note}, out of memory in float32"})
        for cost in COSTS:  # of both tries
            again.row[cost] += failed.row[cost]
        again.row[PEAK_MEMORY] = max(r.row[PEAK_MEMORY] or 0 for r in (again, failed)) or None
        again.row.update({"recovered": f"float32: {note}"} if again.signal is not None else {"earlier": note})
        return again

    @property
    def evaluations(self) -> int:
        """Network evaluations of the current or last batch."""
        return self.calls.forward

    def results(
        self,
        items: Sequence[WorkItem],
        samples: Sequence[Sample],
        problem: Problem,
        restoration: Restoration,
        costs: dict[str, float | None],
        watch: FirstNonFinite,
    ) -> list[Result]:
        """Rows and signals of a batch; a signal with a non-finite value, or that a metric fails on, fails alone."""
        assert self.prior is not None
        signal = restoration.signal
        targets = [s.target for s in samples if s.target is not None]
        target = torch.stack(targets).to(signal) if targets else None
        captions = [item.captions for item in items]
        medium, variant = self.prior.info.medium, items[0].variant
        finite = signal.flatten(1).isfinite().all(dim=1)
        # As the files are kept. What is not finite has failed already: metrics see nothing in its place.
        shown = signal.clamp(-1, 1).where(finite.view(-1, *[1] * (signal.ndim - 1)), 0)
        judged = MetricInput(shown, target, problem, self.prior, captions, medium, restoration.extras, variant)
        rows = self.judges(judged)
        # Only the first variant and draw of a sample needs it, and it may take many iterations.
        previews = cache(lambda: problem.preview().cpu())
        results = []
        for i, (item, sample) in enumerate(zip(items, samples, strict=True)):
            if not finite[i]:
                rows[i] = {"error": f"{NON_FINITE} {watch.describe(i)}"}
            row: dict[str, Any] = {
                **dict(zip(KEY, item.key, strict=True)), **item.told, "measurement": problem.fingerprint(i),
                "scored_by": self.scored_by,
            }  # fmt: skip
            row |= rows[i] | costs
            preview = partial(lambda i: previews()[i], i) if problem.measured else None
            latents = {name: latent[i].cpu() for name, latent in restoration.latents.items()}
            made = None if "error" in row else signal[i].cpu()
            results.append(Result(item, sample, partial(problem.of_sample, i), preview, made, row, latents))
        return results
