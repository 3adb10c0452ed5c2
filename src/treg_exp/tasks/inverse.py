"""Inverse problems: what is measured, how noisy it is, and how strongly a proximal step trusts the measurement.

The proximal step minimises ||y - A x||^2 + lam ||x - x0||^2. With noise of standard deviation sigma and an
estimate x0 whose error is about tau in the units of the measurement, the two terms weigh the same information
when

    lam = ||A||^2 (sigma / tau)^2.

Along the strongest singular direction of A the measurement then has the weight 1 / (1 + (sigma / tau)^2),
whatever the scale of A; without noise lam is 0 and the step is the projection onto the signals that fit y. A
fixed lam has neither property: see ``docs/tasks.md``. Noise that is not Gaussian enters by its equivalent sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator, is_random, make_operator
from treg_exp.operators.noise.base import NoiseModel
from treg_exp.tasks.problems import InverseProblem


@dataclass(frozen=True)
class InverseTask:
    """One inverse problem, for signals of any size.

    Attributes:
        operator: makes the forward operator, called with ``signal_shape``, the shape of the signals that the prior
            makes; one with random parameters also takes ``sample_ids`` and ``seed``, and gets one entry per sample.
        noise: noise model of the measurement.
        name: short name for tables and folders.
        tau: expected root mean square error of the solver's current estimate, in the units of the
            measurement.
        seed: seed of the measurement (noise and random operators); independent of the solver's seeds.
    """

    operator: Callable[..., Operator]
    noise: NoiseModel
    name: str
    tau: float = 0.1
    seed: int = 0
    _built: dict[tuple[tuple[int, ...], str], Operator] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Checks the fields."""
        if not self.tau > 0:
            raise FieldError("tau", self.tau, "expected error of the estimate must be > 0")
        if not callable(self.operator):
            kind = type(self.operator).__name__
            raise FieldError("operator", kind, "must be callable with signal_shape=...: a class, or a partial of one")

    @property
    def title(self) -> str:
        """See ``Task``."""
        return f"{self.name}, sigma {self.noise.sigma:g}"

    def __getstate__(self) -> dict[str, object]:
        """Everything but the operators built so far: a pickled task builds its own."""
        return {**vars(self), "_built": {}}

    def build(self, signal_shape: Sequence[int], sample_ids: Sequence[str]) -> Operator:
        """The operator of a batch, on the CPU; built once per signal shape unless it is random."""
        return self._operator(signal_shape, sample_ids, torch.device("cpu"))

    def pose(self, samples: Sequence[Sample], signal_shape: Sequence[int], device: torch.device) -> InverseProblem:
        """See ``Task``: measurements of the targets, or the real ones that the samples bring."""
        ids = [sample.sample_id for sample in samples]
        measured = [sample.measurement for sample in samples if sample.measurement is not None]
        if measured:
            return self.observe(torch.stack(measured).to(device), signal_shape, ids)
        targets = [sample.target for sample in samples if sample.target is not None]
        if targets:
            return self.measure(torch.stack(targets).to(device), ids, signal_shape)
        operator = self._operator(signal_shape, ids, device)
        y = torch.zeros(len(ids), *operator.measurement_shape, device=device)
        if y.numel():
            raise FieldError("samples", ", ".join(ids), f"{self.name} needs a target to measure, or a real measurement")
        return self._problem(y, operator)

    def measure(
        self, x: Tensor, sample_ids: Sequence[str], signal_shape: Sequence[int] | None = None
    ) -> InverseProblem:
        """Measure signals; a sample's noise depends on (seed, sample_id) only.

        Args:
            x: (B, *operator.signal_shape) in [-1, 1].
            sample_ids: one name per sample.
            signal_shape: what the operator is built for; None is the shape of x. They differ where the operator
                makes another one of it, as the sum of K sources does.
        """
        _check_ids("x", x, sample_ids)
        operator = self._operator(x.shape[1:] if signal_shape is None else signal_shape, sample_ids, x.device)
        with torch.no_grad():
            clean = operator.A(x)
            y = clean + operator.measured() * self.noise.sample(clean, self.seed, sample_ids)
        return self._problem(y, operator)

    def observe(self, y: Tensor, signal_shape: Sequence[int], sample_ids: Sequence[str]) -> InverseProblem:
        """Take real measurements (B, *measurement_shape) of signals of ``signal_shape`` as they are."""
        _check_ids("y", y, sample_ids)
        operator = self._operator(signal_shape, sample_ids, y.device)
        if tuple(y.shape[1:]) != operator.measurement_shape:
            raise FieldError(
                "y", tuple(y.shape[1:]), f"task {self.name} measures signals of shape {operator.signal_shape} as "
                f"{operator.measurement_shape}"
            )  # fmt: skip
        return self._problem(y.to(torch.float32), operator)

    def lam(self, operator: Operator) -> float:
        """||A||^2 (sigma / tau)^2, see the head of this module."""
        return operator.norm_sq * (self.noise.sigma / self.tau) ** 2

    def _problem(self, y: Tensor, operator: Operator) -> InverseProblem:
        return InverseProblem(y=y, operator=operator, sigma=self.noise.sigma, lam=self.lam(operator))

    def _operator(self, signal_shape: Sequence[int], sample_ids: Sequence[str], device: torch.device) -> Operator:
        shape = tuple(int(n) for n in signal_shape)
        key = (shape, str(device))
        if key in self._built:
            return self._built[key]
        try:
            operator = make_operator(self.operator, shape, tuple(sample_ids), self.seed).to(device)
        except FieldError as error:
            raise error.at("operator") from error
        if not is_random(self.operator):
            self._built[key] = operator
        return operator


def _check_ids(name: str, value: Tensor, sample_ids: Sequence[str]) -> None:
    if len(value) != len(sample_ids):
        raise FieldError("sample_ids", len(sample_ids), f"names for {len(value)} samples in {name}")
