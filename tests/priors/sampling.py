"""What the tests of every kind of prior do with it: sample, and restore with TReg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.api import measure, restore
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional
from treg_exp.tasks.problems import EditProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy

PROMPTS = ["a bowl of fried rice", "a red apple"]
NOISE = KeyedNoise([StreamKey(0, str(i)) for i in range(len(PROMPTS))])


def load(folder: Path | str, **options: Any) -> Prior:
    """The prior of a folder, in float32 unless asked otherwise."""
    return DiffusersFolder(**{"path": str(folder), "precision": "fp32", **options}).load()


def sample(
    prior: Prior, steps: int, guidance: float = 1.0, null: str = "", shape: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Two samples of our solver, one per prompt, and the standard normal numbers that they were made from."""
    shape = tuple(shape or prior.info.signal_shape)
    policy = TextPolicy(ConstantGuidance(guidance), FixedNullText(null))
    text = policy.start(prior, [{"prompt": prompt} for prompt in PROMPTS])
    x = Unconditional(steps).solve(EditProblem(torch.zeros(2, *shape)), text, prior, policy, NOISE).signal
    return x, NOISE.normal("start", like=prior.empty_latent(x))


def check_treg(prior: Prior, steps: int, guidance: float = 2.0, with_text: bool = True) -> None:
    """TReg runs on a prior: prompt and measurement matter, and the last projection meets the latter."""
    shape = prior.info.signal_shape
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BicubicDownsampling(8, shape), x)
    prompts, settings = PROMPTS if with_text else [""] * 2, {"guidance": guidance}
    free = TReg(steps=steps, final_projection=False)
    image = restore(problem, prior, prompts, free, **settings)
    assert image.isfinite().all()
    others = [restore(replace(problem, y=-problem.y), prior, prompts, free, **settings)]
    if with_text:
        others.append(restore(problem, prior, prompts[::-1], free, **settings))
    for other in others:
        assert (image - other).abs().amax(dim=(1, 2, 3)).min() > 1e-4
    projected = restore(problem, prior, prompts, TReg(steps=steps), **settings)
    before, after = ((problem.operator.A(x) - problem.y).square().mean() for x in (image, projected))
    assert after < 0.01 * before
