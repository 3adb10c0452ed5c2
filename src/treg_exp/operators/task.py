"""A task: what is measured, how noisy it is, and how strongly a proximal step trusts the measurement.

The proximal step minimises ||y - A x||^2 + lam ||x - x0||^2. With noise of standard deviation sigma and an
estimate x0 whose error is about tau in the units of the measurement, the two terms weigh the same information
when

    lam = ||A||^2 (sigma / tau)^2.

Along the strongest singular direction of A the measurement then has the weight 1 / (1 + (sigma / tau)^2),
whatever the scale of A; without noise lam is 0 and the step is the projection onto the images that fit y. A
fixed lam has neither property: see ``docs/tasks.md``. Noise that is not Gaussian enters by its equivalent sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from treg_exp.operators.base import Operator, is_random, make_operator
from treg_exp.operators.checks import check_image_shape
from treg_exp.operators.noise_models import NoiseModel
from treg_exp.types import Measurement


@dataclass(frozen=True)
class Task:
    """One inverse problem, for images of any size.

    Attributes:
        operator: makes the forward operator, called as ``operator(image_shape=(3, H, W))``; one with random
            parameters also takes ``sample_ids`` and ``seed``, and gets one entry per sample.
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
            raise ValueError(f"tau={self.tau}: expected error of the estimate must be > 0")
        if not callable(self.operator):
            raise ValueError("operator: must be callable with image_shape=... (in YAML: _partial_: true)")

    def __getstate__(self) -> dict[str, object]:
        """Everything but the operators built so far: a pickled task builds its own."""
        return {**vars(self), "_built": {}}

    def build(self, image_shape: Sequence[int], sample_ids: Sequence[str]) -> Operator:
        """The operator of a batch, on the CPU; built once per image shape unless it is random."""
        return self._operator(image_shape, sample_ids, torch.device("cpu"))

    def measure(self, x: Tensor, sample_ids: Sequence[str]) -> Measurement:
        """Measures images (B, 3, H, W) in [-1, 1]; a sample's noise depends on (seed, sample_id) only."""
        _check_ids("x", x, sample_ids)
        operator = self._operator(x.shape[1:], sample_ids, x.device)
        with torch.no_grad():
            clean = operator.A(x)
            y = clean + operator.measured() * self.noise.sample(clean, self.seed, sample_ids)
        return self._measurement(y, operator)

    def observe(self, y: Tensor, image_shape: Sequence[int], sample_ids: Sequence[str]) -> Measurement:
        """Takes real measurements (B, *measurement_shape) of images of ``image_shape`` as they are."""
        _check_ids("y", y, sample_ids)
        operator = self._operator(image_shape, sample_ids, y.device)
        if tuple(y.shape[1:]) != operator.measurement_shape:
            raise ValueError(
                f"y: measurements of shape {tuple(y.shape[1:])}, but task {self.name} measures images of "
                f"shape {operator.image_shape} as {operator.measurement_shape}"
            )
        return self._measurement(y.to(torch.float32), operator)

    def lam(self, operator: Operator) -> float:
        """||A||^2 (sigma / tau)^2, see the head of this module."""
        return operator.norm_sq * (self.noise.sigma / self.tau) ** 2

    def _measurement(self, y: Tensor, operator: Operator) -> Measurement:
        return Measurement(y=y, operator=operator, sigma=self.noise.sigma, lam=self.lam(operator))

    def _operator(self, image_shape: Sequence[int], sample_ids: Sequence[str], device: torch.device) -> Operator:
        shape = check_image_shape(image_shape)
        key = (shape, str(device))
        if key in self._built:
            return self._built[key]
        operator = make_operator(self.operator, shape, tuple(sample_ids), self.seed).to(device)
        if not is_random(self.operator):
            self._built[key] = operator
        return operator


def _check_ids(name: str, value: Tensor, sample_ids: Sequence[str]) -> None:
    if len(value) != len(sample_ids):
        raise ValueError(f"sample_ids: {len(sample_ids)} names for {len(value)} samples in {name}")
