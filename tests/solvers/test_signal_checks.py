"""What the solvers of signals refuse, what they cost, and that samples of a batch stay apart."""

from __future__ import annotations

import pytest
import torch

from tests.solvers.gaussian import SHAPE, gaussian_prior, measured
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.priors.counting import counted
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.solvers.base import Solver
from treg_exp.solvers.ddnm import DDNM
from treg_exp.solvers.ddrm import DDRM
from treg_exp.solvers.diffpir import DiffPIR
from treg_exp.solvers.dps import DPS
from treg_exp.solvers.red_diff import REDDiff
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy


def test_more_than_is_known_of_an_operator_is_refused() -> None:
    tomography = SparseViewCT(4, SHAPE)
    problem, info = measured(tomography, 0.1), gaussian_prior().info
    with pytest.raises(FieldError, match=r"operator=SparseViewCT: DDRM treats .* take solver=diffpir or dps"):
        DDRM().check(problem, info)
    with pytest.raises(FieldError, match=r"operator=SparseViewCT: DDNM\+ treats .* plus=never takes y as"):
        DDNM().check(problem, info)
    DDNM(plus="never").check(problem, info)


@pytest.mark.parametrize("solver", [DPS(), DDRM(), DDNM(), DiffPIR(), REDDiff(steps=10)])
def test_priors_of_latents_are_refused(solver: object) -> None:
    info = DiffusersFolder(path="tiny_random").info
    operator = BicubicDownsampling(factor=2, signal_shape=(3, 64, 64))
    problem = InverseProblem(torch.zeros(1, 3, 32, 32), operator, 0.0, 0.0)
    name = type(solver).__name__
    with pytest.raises(FieldError, match=f"prior=.*{name} works on signals, and this prior is one of latents; take"):
        solver.check(problem, info)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: DPS(zeta=-1.0), "zeta"), (lambda: DPS(likelihood="cube"), "likelihood"), (lambda: DPS(eta=2.0), "eta"),
        (lambda: DDRM(eta=1.5), "eta"), (lambda: DDRM(eta_b=-0.1), "eta_b"), (lambda: DDNM(eta=-1.0), "eta"),
        (lambda: DDNM(plus="yes"), "plus"), (lambda: DDNM(travel_length=0), "travel_length"),
        (lambda: DDNM(noise_estimate="x"), "noise_estimate"), (lambda: DiffPIR(lam=0.0), "lam"),
        (lambda: DiffPIR(zeta=2.0), "zeta"), (lambda: DiffPIR(grid="cubic"), "grid"),
        (lambda: DiffPIR(sigma_floor=-1.0), "sigma_floor"), (lambda: REDDiff(lam=-1.0), "lam"),
        (lambda: REDDiff(weight="snr"), "weight"), (lambda: REDDiff(start="zero"), "start"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(make: object, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("solver", "calls"),
    [
        (DPS(5), (5, 5)), (DPS(5, checkpoint=True), (10, 5)), (DDRM(5), (5, 0)), (DDNM(5), (5, 0)),
        (DDNM(6, travel_length=3, travel_repeats=2), (12, 0)), (DiffPIR(5), (5, 0)), (REDDiff(5), (5, 0)),
    ],
)  # fmt: skip
def test_a_batch_of_8_gives_each_what_it_gets_alone(solver: Solver, calls: tuple[int, int]) -> None:
    """And how often the network is asked, forward and backward, per sample."""
    operator = BicubicDownsampling(factor=2, signal_shape=SHAPE)
    many = InverseProblem(torch.cat([measured(operator, 0.05, k).y for k in range(4)]), operator, 0.05, 0.1)
    prior, policy, found = gaussian_prior(), TextPolicy(), {}
    watched, counts = counted(prior)
    for name, problem, ids in (("together", many, range(8)), ("alone", many.of_sample(5), [5])):
        text = policy.start(prior, [{"prompt": ""}] * len(ids))
        noise = KeyedNoise([StreamKey(0, str(i)) for i in ids])
        found[name] = solver.solve(problem, text, watched, policy, noise).signal
        if name == "together":
            assert (counts.forward, counts.backward) == tuple(8 * n for n in calls)
    torch.testing.assert_close(found["alone"][0], found["together"][5], rtol=0, atol=1e-5)
