"""STSL's gradient in half precision: neither of its two terms vanishes or overflows on its way through the networks."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.precision import Precision
from treg_exp.priors.prior import Prior
from treg_exp.solvers.stsl import STSL
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.policy import TextPolicy

SHAPE, CONDITIONAL = (3, 64, 64), TextPolicy(ConstantGuidance(1.0))


@cache
def prior(precision: Precision) -> Prior:
    return DiffusersFolder(path="emoji64", precision=precision).load()


def gradient(solver: STSL, precision: Precision) -> Tensor:
    """At t = 500 of a random latent."""
    shipped, draws = prior(precision), torch.Generator().manual_seed(0)
    operator = BicubicDownsampling(factor=8, signal_shape=SHAPE)
    problem = InverseProblem(operator.A(torch.rand(1, *SHAPE, generator=draws) * 2 - 1), operator, 0.05, 1e-4)
    text = CONDITIONAL.start(shipped, [{"prompt": "a cat"}])
    z_t, probe = torch.randn(2, 1, *shipped.empty_latent(problem.empty_signal()).shape[1:], generator=draws)
    level = shipped.info.schedule.level(500)
    found, _, _ = solver.gradient(problem, shipped, CONDITIONAL, text, z_t, level, probe)
    return found


@pytest.mark.parametrize(("precision", "allowed"), [("fp16", 0.01), ("bf16", 0.05)])
@pytest.mark.parametrize(
    "solver",
    [STSL(), STSL(weight=0.0), STSL(weight=0.0, correction=2e-6), STSL(weight=400.0, squared=True), STSL(weight=1e-6),
     STSL(weight=1e7, squared=True)],
    ids=["default", "correction", "small correction", "paper", "small", "sigma of 3e-4"],
)  # fmt: skip
def test_the_gradient_of_stsl_survives(solver: STSL, precision: Precision, allowed: float) -> None:
    """Relative difference from float32; unscaled, float16 has 0.44 of the correction alone and 1 of a small one."""
    exact = gradient(solver, "fp32")
    found = gradient(solver, precision)
    assert found.isfinite().all()
    assert float((found - exact).norm() / exact.norm()) < allowed


def test_float32_keeps_every_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = gradient(STSL(), "fp32")
    monkeypatch.setattr(STSL, "scale", lambda *of_it: 1.0)
    torch.testing.assert_close(gradient(STSL(), "fp32"), scaled, rtol=1e-6, atol=1e-9)


def test_without_the_scale_float16_would_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STSL, "scale", lambda *of_it: 1.0)
    far = gradient(STSL(weight=1e7, squared=True), "fp16")
    assert not far.isfinite().all()
    assert gradient(STSL(weight=0.0, correction=2e-6), "fp16").abs().max() == 0
