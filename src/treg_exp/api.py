"""The library without any configuration: measure, restore, save.

Restore an image in five lines::

    from treg_exp.api import BicubicDownsampling, load_image, load_prior, measure, restore, save_image

    prior = load_prior("emoji64")
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    problem = measure(operator, load_image("apple.png", 64), sigma=0.01)
    save_image(restore(problem, prior, "a red apple"), "restored.png")
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.data.pictures import read_rgb, resize, to_tensor
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import BoxInpainting, Identity
from treg_exp.operators.methods import CG, Exact
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.priors.stacked import for_signals
from treg_exp.priors.texts.window import cut_notes
from treg_exp.signals.image import save_png
from treg_exp.solvers.base import OnStep, Solver, ignore
from treg_exp.solvers.last_projection import LastProjection, Projected
from treg_exp.solvers.treg import DataSteps, TReg
from treg_exp.solvers.unconditional import Unconditional
from treg_exp.tasks.inverse import InverseTask
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.base import Guidance
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.match.base import NoTextMatch, TextMatch
from treg_exp.text.match.image_text import ImageTextMatch
from treg_exp.text.null_text.base import NullText
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_rule import FixedPromptRule, PromptRule
from treg_exp.text.prompt_tuning import PromptTuning

__all__ = [
    "CG",
    "AdaptiveNegation",
    "BicubicDownsampling",
    "BoxInpainting",
    "ConstantGuidance",
    "DataSteps",
    "DiffusersFolder",
    "Exact",
    "FixedNullText",
    "GaussianBlur",
    "Identity",
    "ImageTextMatch",
    "LastProjection",
    "Projected",
    "PromptTuning",
    "TReg",
    "Unconditional",
    "load_image",
    "load_prior",
    "measure",
    "restore",
    "save_image",
]


def load_prior(path: str = "emoji64", device: str | torch.device = "cpu", **options: Any) -> Prior:
    """A frozen prior from a folder in diffusers layout, or a shipped one by its name.

    Args:
        path: see ``DiffusersFolder``, whose other fields are the ``options``.
        device: where the networks run.
        options: such as ``precision="fp32"``.

    Raises:
        FieldError: the folder is missing or incomplete, or a value is unknown.
    """
    return DiffusersFolder(path=path, **options).load(device)


def load_image(path: str | Path, size: int) -> Tensor:
    """An image file as (1, 3, size, size) in [-1, 1]: EXIF rotation, alpha on white, centre crop, antialiased."""
    return to_tensor(resize(read_rgb(Path(path)), size))[None]


def save_image(x: Tensor, path: str | Path) -> Path:
    """Save the first image of (B, 3, H, W) in [-1, 1] as PNG; values outside are clamped, nothing is rescaled."""
    return save_png(x[0], path)


def measure(operator: Operator, x: Tensor, sigma: float = 0.0, tau: float = 0.1, seed: int = 0) -> InverseProblem:
    """Measurements y = A(x) + n, with everything that a solver has to know of them.

    Args:
        operator: forward operator.
        x: (B, *signal_shape) in [-1, 1], such as images (B, 3, H, W).
        sigma: standard deviation of the noise, in [-1, 1] units.
        tau: expected error of a solver's estimate in the units of y; lambda = ||A||^2 (sigma / tau)^2.
        seed: of the noise.
    """
    task = InverseTask(lambda signal_shape: operator, GaussianNoise(sigma), name="measure", tau=tau, seed=seed)
    return task.measure(x, [str(i) for i in range(len(x))])


def restore(
    problem: InverseProblem,
    prior: Prior,
    prompt: str | Sequence[str] = "",
    solver: Solver | None = None,
    guidance: float | Guidance = 2.0,
    null_text: str | NullText = "",
    seed: int = 0,
    on_step: OnStep = ignore,
    *,
    text_match: TextMatch | None = None,
    text_weight: float = 1.0,
    prompt_rule: PromptRule | None = None,
) -> Tensor:
    """Restored signals (B, *signal_shape) in [-1, 1] units, not clamped.

    Args:
        problem: B measurements, see :func:`measure`; of several sources each is a signal of the prior.
        prior: the diffusion model, see :func:`load_prior`.
        prompt: one text, or one per measurement.
        solver: the algorithm; None is ``TReg()``. ``Projected(solver)`` moves its results onto the measurement, as TReg
            does itself.
        guidance: scale or rule.
        null_text: a fixed null text, or a rule such as ``AdaptiveNegation()``.
        seed: of the solver's random streams.
        on_step: called after every step.
        text_match: what else pulls towards the prompt, such as ``ImageTextMatch()``; None is nothing.
        text_weight: how much guidance and text match count: 0 is the null text alone, 1 as they are.
        prompt_rule: how the prompt moves, such as ``PromptTuning()``; None is not at all.

    Warns:
        UserWarning: a text is longer than what the prior reads of it, or a solver lacks a rule of text that its paper
            has (see ``Solver.cautions``).

    Raises:
        FieldError: the number of prompts does not fit, or prior and operator lack what the rules and the solver need.
    """
    count, prior = problem.batch_size, for_signals(prior, problem.signal_shape)
    prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
    if len(prompts) != count:
        raise FieldError("prompt", len(prompts), f"one text, or one for each of the {count} measurements")
    policy = TextPolicy(
        ConstantGuidance(guidance) if isinstance(guidance, int | float) else guidance,
        FixedNullText(null_text) if isinstance(null_text, str) else null_text,
        prompt_rule=prompt_rule or FixedPromptRule(),
        text_match=text_match or NoTextMatch(),
        weight=text_weight,
    )
    solver, texts = solver or TReg(), [{"prompt": text} for text in prompts]
    for note in (*cut_notes(prior.info.text_windows, [policy.null_text.text, *prompts]), *solver.cautions(policy)):
        warnings.warn(note, stacklevel=2)
    policy.check(prior.info, texts)
    solver.check_policy(policy)
    solver.check(problem, prior.info)
    noise = KeyedNoise([StreamKey(seed, str(i)) for i in range(count)])
    with torch.no_grad():
        return solver.solve(problem, policy.start(prior, texts), prior, policy, noise, on_step).signal
