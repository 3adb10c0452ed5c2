"""The Lightning module: measure, restore and judge one batch of work items."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from treg_exp.engine.recovery import FirstNonFinite, MicroBatches, is_out_of_memory
from treg_exp.engine.work import Variant, WorkItem
from treg_exp.metrics.base import Metric, MetricInput, evaluate
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.tasks.inverse import InverseTask
from treg_exp.priors.base import Counted
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.solvers.base import OnStep, Solver
from treg_exp.data.sample import Sample
from treg_exp.tasks.problems import Measurement, Problem

COSTS = ("seconds", "nfe")  # columns that the engine adds to a row


@dataclass(frozen=True)
class WorkBatch:
    """Work items of one variant and their samples."""

    items: Sequence[WorkItem]
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Result:
    """What became of one work item.

    Attributes:
        item: the work item.
        sample: its sample.
        y: its measurement.
        linear: whether the operator is; its preview then is the pseudo-inverse of y.
        preview: makes an image (3, H, W) of y, computed at the first call.
        image: (3, H, W) restored image in [-1, 1] units, or None where it failed.
        row: the numbers, or ``error``.
    """

    item: WorkItem
    sample: Sample
    y: Tensor
    linear: bool
    preview: Callable[[], Tensor]
    image: Tensor | None
    row: dict[str, Any]


class RestorationModule(LightningModule):
    """Runs a solver over work items. It has no parameters: the prior is loaded on each device at the start.

    Args:
        load_prior: called with ``device=...`` in every process.
        task: makes the measurements.
        solver: restores.
        variants: text settings by name.
        metrics: judges by name.
        seed: of the solver's random streams.
        image_size: side of the square images.
        on_step: told after every solver step (progress bar).
    """

    def __init__(
        self,
        load_prior: Callable[..., LatentDiffusion],
        task: Task,
        solver: Solver,
        variants: Mapping[str, Variant],
        metrics: Mapping[str, Metric],
        seed: int,
        image_size: int,
        on_step: OnStep,
    ) -> None:
        super().__init__()
        self.load_prior = load_prior
        self.task, self.solver, self.variants = task, solver, variants
        self.judges = dict(metrics)
        self.seed, self.image_size, self.on_step = seed, image_size, on_step
        self.prior: LatentDiffusion | None = None
        self.counted: Counted | None = None
        self.micro_batches = MicroBatches()

    def on_predict_start(self) -> None:
        """Load the prior onto this process's device."""
        if self.prior is None:
            self.prior = self.load_prior(device=self.device)

    def transfer_batch_to_device(self, batch: WorkBatch, device: torch.device, dataloader_idx: int) -> WorkBatch:
        """Leave samples where they are; ``measure`` moves what it needs."""
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
                if result.image is None:
                    results[i] = self.restore_in_float32(result)
        for failed in (result for result in results if result.image is None):
            item = failed.item
            told = f"{item.sample_id}, variant {item.variant}, draw {item.draw}: failed, {failed.row['error']}"
            print(told, file=sys.stderr, flush=True)
        return results

    def restore(self, pairs: Sequence[tuple[WorkItem, Sample]]) -> list[Result]:
        """Restore some work items of one variant together."""
        assert self.prior is not None
        items, samples = [item for item, _ in pairs], [sample for _, sample in pairs]
        measurement = self.measure(samples)
        prior = self.counted = Counted(self.prior)
        policy = self.variants[items[0].variant].policy
        noise = KeyedNoise([StreamKey(self.seed, item.sample_id, item.draw) for item in items])
        watch = FirstNonFinite(self.on_step, len(items))
        start = time.perf_counter()
        problem = Problem(measurement, policy.start(prior, [item.prompt for item in items]))
        image = self.solver.solve(problem, prior, policy, noise, watch).image
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        spent = (time.perf_counter() - start, prior.evaluations)
        costs = {name: value / len(items) for name, value in zip(COSTS, spent, strict=True)}
        return self.results(items, samples, measurement, image, costs, watch)

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
        again.row.update({"recovered": f"float32: {note}"} if again.image is not None else {"earlier": note})
        return again

    @property
    def evaluations(self) -> int:
        """Network evaluations of the current or last batch."""
        return self.counted.evaluations if self.counted else 0

    def measure(self, samples: Sequence[Sample]) -> Measurement:
        """Y of every sample: measured from its target, or the real one that it brings."""
        ids = [s.sample_id for s in samples]
        if samples[0].measurement is not None:
            y = torch.stack([s.measurement for s in samples if s.measurement is not None]).to(self.device)
            return self.task.observe(y, (3, self.image_size, self.image_size), ids)
        x = torch.stack([s.target for s in samples if s.target is not None]).to(self.device)
        return self.task.measure(x, ids)

    def results(
        self,
        items: Sequence[WorkItem],
        samples: Sequence[Sample],
        measurement: Measurement,
        image: Tensor,
        costs: dict[str, float],
        watch: FirstNonFinite,
    ) -> list[Result]:
        """Rows and images of a batch; an image with a non-finite value fails alone."""
        assert self.prior is not None
        targets = [s.target for s in samples]
        target = None if targets[0] is None else torch.stack([t for t in targets if t is not None]).to(image)
        captions = [item.captions for item in items]
        rows = evaluate(self.judges, MetricInput(image, target, measurement, self.prior, captions))
        # Only the first variant and draw of a sample needs it, and it may take many iterations.
        previews = cache(lambda: measurement.operator.preview(measurement.y).cpu())
        results = []
        for i, (item, sample) in enumerate(zip(items, samples, strict=True)):
            finite = bool(image[i].isfinite().all())
            row: dict[str, Any] = {
                "sample_id": item.sample_id, "variant": item.variant, "draw": item.draw, "prompt": item.prompt,
                "measurement": fingerprint(measurement, i),
            }  # fmt: skip
            row |= (rows[i] if finite else {"error": f"non-finite {watch.describe(i)}"}) | costs
            results.append(
                Result(
                    item,
                    sample,
                    measurement.y[i].cpu(),
                    measurement.operator.linear,
                    partial(lambda i: previews()[i], i),
                    image[i].cpu() if finite else None,
                    row,
                )
            )
        return results


def fingerprint(measurement: Measurement, i: int) -> str:
    """Hash of the operator's parameters and of y: equal in two rows only if the same thing was measured."""
    import hashlib

    y = measurement.y[i].detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(measurement.operator.fingerprint(i).encode() + y).hexdigest()[:12]
