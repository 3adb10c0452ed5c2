"""What a restoration costs is counted where every solver has to pass, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from tests.priors.sampling import load
from treg_exp.api import measure, restore
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.counting import counted
from treg_exp.priors.prior import Prior
from treg_exp.solvers.baselines import PseudoInverse
from treg_exp.solvers.treg import DataSteps, TReg
from treg_exp.solvers.unconditional import Unconditional

SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return load("tiny_random")


NO_DATA = DataSteps(stop=0.0)
EVERY = DataSteps(every=1)


@pytest.mark.parametrize(
    ("solver", "guidance", "expected"),
    [
        (Unconditional(steps=4), 1.0, (4, 0, 0, 1)),
        (Unconditional(steps=4), 2.0, (8, 0, 0, 1)),
        (TReg(steps=4, data_steps=EVERY), 1.0, (4, 0, 4, 5)),
        (TReg(steps=4, data_steps=EVERY), 2.0, (8, 0, 4, 5)),
        # The gradient step asks once, for the null text, and decodes what it differentiates.
        (TReg(steps=4, data_steps=NO_DATA, off_window="dps"), 2.0, (4, 4, 0, 5)),
        (PseudoInverse(), 2.0, (0, 0, 0, 0)),
    ],
)
def test_calls_per_sample(prior: Prior, solver: object, guidance: float, expected: tuple[int, ...]) -> None:
    problem = measure(BicubicDownsampling(8, SHAPE), torch.rand(3, *SHAPE) * 2 - 1)
    counting, calls = counted(prior)
    restored = restore(problem, counting, "a cat", solver, guidance)
    assert (calls.forward, calls.backward, calls.encodes, calls.decodes) == tuple(3 * n for n in expected)
    assert torch.equal(restored, restore(problem, prior, "a cat", solver, guidance))


def test_a_gradient_of_the_text_counts_too(prior: Prior) -> None:
    counting, calls = counted(prior)
    z, text = torch.randn(2, 4, 16, 16), prior.text.embed(["a cat", "a dog"])
    tokens = text.tokens.clone().requires_grad_()
    at = counting.predict(z, prior.info.schedule.level(300), text.with_tokens(tokens))
    (gradient,) = torch.autograd.grad(at.z_0.square().sum(), tokens)
    assert gradient.abs().max() > 0
    assert (calls.forward, calls.backward) == (2, 2)


def test_nothing_is_counted_backward_without_a_gradient(prior: Prior) -> None:
    counting, calls = counted(prior)
    z, level = torch.randn(2, 4, 16, 16).requires_grad_(), prior.info.schedule.level(300)
    text = prior.text.embed(["a cat", "a dog"])
    counting.predict(z, level, text)
    with torch.no_grad():
        counting.predict(z, level, text)
    assert (calls.forward, calls.backward) == (4, 0)
