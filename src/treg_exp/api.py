"""The library without any configuration: measure, restore, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from treg_exp.data.pictures import read_rgb, resize, to_tensor
from treg_exp.files import save_png
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.base import Operator
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.tasks.inverse import InverseTask
from treg_exp.priors.base import Prior
from treg_exp.solvers.base import OnStep, Solver
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.base import ignore
from treg_exp.text.guidance import ConstantGuidance, Guidance
from treg_exp.text.null_text import FixedNullText, NullText
from treg_exp.text.policy import TextPolicy
from treg_exp.tasks.problems import Measurement, Problem


def load_image(path: str | Path, size: int) -> Tensor:
    """An image file as (1, 3, size, size) in [-1, 1]: EXIF rotation, alpha on white, centre crop, antialiased."""
    return to_tensor(resize(read_rgb(Path(path)), size))[None]


def save_image(x: Tensor, path: str | Path) -> Path:
    """Save the first image of (B, 3, H, W) in [-1, 1] as PNG; values outside are clamped, nothing is rescaled."""
    return save_png(x[0], path)


def measure(operator: Operator, x: Tensor, sigma: float = 0.0, tau: float = 0.1, seed: int = 0) -> Measurement:
    """Y = A x + n.

    Args:
        operator: forward operator.
        x: (B, 3, H, W) in [-1, 1].
        sigma: standard deviation of the noise, in [-1, 1] units.
        tau: expected error of a solver's estimate in the units of y; lambda = ||A||^2 (sigma / tau)^2.
        seed: of the noise.
    """
    task = Task(lambda signal_shape: operator, GaussianNoise(sigma), name="measure", tau=tau, seed=seed)
    return task.measure(x, [str(i) for i in range(len(x))])


def restore(
    measurement: Measurement,
    prior: Prior,
    prompt: str | Sequence[str],
    solver: Solver | None = None,
    guidance: float | Guidance = 2.0,
    null_text: str | NullText = "",
    seed: int = 0,
    on_step: OnStep = ignore,
) -> Tensor:
    """Restored images (B, 3, H, W) in [-1, 1] units.

    Args:
        measurement: B measurements, see :func:`measure`.
        prior: the diffusion model, see ``load_prior``.
        prompt: one text, or one per measurement.
        solver: the algorithm; None is ``TReg()``.
        guidance: scale or rule.
        null_text: a fixed null text, or a rule such as ``AdaptiveNegation()``.
        seed: of the solver's random streams.
        on_step: called after every step.

    Raises:
        ValueError: the number of prompts does not fit, or the prior lacks what the null-text rule needs.
    """
    count = len(measurement.y)
    prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
    if len(prompts) != count:
        raise ValueError(f"{len(prompts)} prompts for {count} measurements")
    policy = TextPolicy(
        ConstantGuidance(guidance) if isinstance(guidance, int | float) else guidance,
        FixedNullText(null_text) if isinstance(null_text, str) else null_text,
    )
    policy.null_text.check(prior)
    noise = KeyedNoise([StreamKey(seed, str(i)) for i in range(count)])
    with torch.no_grad():
        problem = Problem(measurement, policy.start(prior, prompts))
        return (solver or TReg()).solve(problem, prior, policy, noise, on_step).image
