"""What the solvers that TReg is compared with have to themselves; what all solvers share is in test_contract.py."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from tests.test_config import composed
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.numerics.adamw import AdamW
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.compressed import CompressedSensing
from treg_exp.operators.linear.masking import BoxInpainting, RandomInpainting
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.operators.methods import CG, Descent, Exact
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.priors.counting import Calls, counted
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move
from treg_exp.solvers.base import Solver
from treg_exp.solvers.daps import LatentDAPS
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.latent_map import LatentMAP
from treg_exp.solvers.latino import Delta, Latino
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.renoising import ddim_share, resampled
from treg_exp.solvers.resample import ReSample
from treg_exp.solvers.stsl import STSL
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_ascent import PromptAscent

CONDITIONAL = TextPolicy(ConstantGuidance(1.0))
PIXEL, LATENT = AdamW(1e-2, 4), AdamW(5e-3, 3)
RIVALS: dict[str, Solver] = {
    "ldps": LatentDPS(steps=2),
    "gml_dps": LatentDPS(steps=2, gluing="autoencoder"),
    "psld": LatentDPS(steps=2, gluing="measurement"),
    "daps": LatentDAPS(steps=2, mcmc_steps=2, tau=0.5),
    "latino": Latino(steps=2),
    "resample": ReSample(steps=4, every=2, travel=2, pixel=PIXEL, latent=LATENT),
    "projdiff": ProjDiff(steps=2, latent=True),
    "lmap": LatentMAP(AdamW(0.05, 2)),
    "stsl": STSL(steps=2, inner=2),
}


def posed(count: int = 8, sigma: float = 0.01) -> InverseProblem:
    x = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    return InverseProblem(operator.A(x), operator, sigma, 1e-4)


def solved(
    solver: Solver, prior: Prior, problem: InverseProblem, first: int = 0, policy: TextPolicy = CONDITIONAL
) -> tuple[Tensor, Calls]:
    watched, calls = counted(prior)
    names = [f"sample {first + i}" for i in range(problem.batch_size)]
    text = policy.start(prior, [{"prompt": name} for name in names])
    noise = KeyedNoise([StreamKey(0, name) for name in names])
    return solver.solve(problem, text, watched, policy, noise).signal, calls


@pytest.mark.parametrize("name", RIVALS)
def test_with_nothing_measured_it_is_generation(name: str, tiny_prior: Prior) -> None:
    problem = InverseProblem(torch.zeros(2, 0), Nothing((3, 64, 64)), 0.0, 0.0)
    generated, _ = solved(RIVALS[name], tiny_prior, problem)
    assert generated.isfinite().all()
    assert (generated[0] - generated[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "calls"),
    [("ldps", (2, 2, 0, 3)), ("gml_dps", (2, 2, 2, 3)), ("psld", (2, 2, 2, 3)), ("daps", (4, 0, 0, 5)),
     ("latino", (2, 0, 3, 3)), ("projdiff", (3, 0, 2, 3)), ("lmap", (2, 0, 1, 3)), ("stsl", (10, 4, 1, 5))],
)  # fmt: skip
def test_what_one_restoration_costs(name: str, calls: tuple[int, ...], tiny_prior: Prior) -> None:
    """Evaluations of the network, gradients through it, encodings, decodings; the table of docs/solvers.md."""
    found = astuple(solved(RIVALS[name], tiny_prior, posed(1))[1])
    if name == "stsl":  # two evaluations per update and one per step; a gradient arrives at both of them
        found, calls = found[:1] + found[2:], calls[:1] + calls[2:]
    assert found == calls


@pytest.mark.parametrize("name", ["psld", "daps", "resample", "stsl", "lmap"])
def test_computing_again_changes_nothing(name: str, tiny_prior: Prior) -> None:
    plain, _ = solved(RIVALS[name], tiny_prior, posed(1))
    saved, _ = solved(replace(RIVALS[name], checkpoint=True), tiny_prior, posed(1))
    torch.testing.assert_close(saved, plain, rtol=0, atol=1e-5)


def test_weights_take_no_gradients(tiny_prior: Prior) -> None:
    solved(RIVALS["psld"], tiny_prior, posed(1))
    networks = [part.network.module for part in (tiny_prior.codec, tiny_prior.denoiser)]
    weights = [weight for network in networks for weight in network.parameters()]
    assert not any(weight.requires_grad or weight.grad is not None for weight in weights)


def test_the_share_of_noise_is_ddims() -> None:
    """Song et al., 2021, equation 16."""
    ab, ab_prev, eta = 0.3, 0.5, 0.7
    move = Move(0, Level(500, ab**0.5, (1 - ab) ** 0.5), Level(400, ab_prev**0.5, (1 - ab_prev) ** 0.5))
    expected = eta * ((1 - ab_prev) / (1 - ab) * (1 - ab / ab_prev)) ** 0.5
    assert ddim_share(move, eta) * move.next.sigma == pytest.approx(expected)


def test_resampling_is_the_product_of_two_gaussians() -> None:
    level, variance = Level(400, 0.8, 0.6), 0.09
    z, z_0, n = torch.randn(3, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    precision = 1 / 0.36 + 1 / variance
    mean = (0.8 * z_0 / 0.36 + z / variance) / precision
    torch.testing.assert_close(resampled(z, z_0, level, variance, n), mean + precision**-0.5 * n)


@pytest.mark.parametrize("variance", ["code", "paper"])
def test_the_variance_of_resample(variance: str) -> None:
    ab, ab_prev = 0.3, 0.32
    move = Move(0, Level(500, ab**0.5, (1 - ab) ** 0.5), Level(498, ab_prev**0.5, (1 - ab_prev) ** 0.5))
    denominator = 1 - ab if variance == "code" else ab
    expected = 40 * (1 - ab_prev) / denominator * (1 - ab / ab_prev)
    assert ReSample(variance=variance).spread(move) == pytest.approx(expected)


def test_which_steps_of_resample_optimise() -> None:
    solver = ReSample(steps=40)
    assert [i for i in range(40) if solver.is_consistent(i)] == [10, 20]  # the first third has none, nor has step 0


def test_resample_stops_at_the_noise_of_what_is_measured(tiny_prior: Prior) -> None:
    mask = RandomInpainting(0.5, (3, 64, 64), ["a"])
    problem = InverseProblem(mask.A(torch.zeros(1, 3, 64, 64)), mask, 0.1, 0.0)
    assert ReSample().limit(problem).item() == pytest.approx(0.1**2 / 2)


@pytest.mark.parametrize("back", ["normalised", "adjoint", "pinv", "replicate"])
def test_ways_back_of_psld(back: str) -> None:
    operator = AveragePooling(factor=4, signal_shape=(3, 16, 16))
    y = torch.randn(1, 3, 4, 4)
    big = y.repeat_interleave(4, -1).repeat_interleave(4, -2)
    expected = big / 16 if back == "adjoint" else big  # the transpose of a mean spreads it
    torch.testing.assert_close(LatentDPS(back=back).pulled_back(operator, y), expected)


def test_projection_of_p2l_brings_the_estimate_to_the_measurement(tiny_prior: Prior) -> None:
    problem = posed(1)
    plain, _ = solved(LatentDPS(steps=3), tiny_prior, problem)
    projected, calls = solved(LatentDPS(steps=3, project_every=3, lam=0.0), tiny_prior, problem)
    assert calls.encodes == 1
    assert (plain - projected).abs().max() > 1e-3


def test_the_descent_of_lmap_goes_on_below_zero(tiny_prior: Prior) -> None:
    """Its loss has a sign: a stop at 0 would leave a picture where it was."""
    found = AdamW(0.1, 3, weight_decay=0.0).minimise(lambda z: -z.flatten(1).sum(1), torch.ones(1, 2))
    assert found[0, 0].item() == pytest.approx(1.3, abs=1e-4)
    seen: list[Tensor] = []
    solver = LatentMAP(AdamW(0.1, 6), weight=1e4)  # the prior's term alone decides the sign
    text = CONDITIONAL.start(tiny_prior, [{"prompt": "a cat"}])
    noise = KeyedNoise([StreamKey(0, "a")])
    solver.solve(posed(1), text, tiny_prior, CONDITIONAL, noise, lambda info: seen.append(info.z_0))
    assert len(seen) == 6
    assert all((after - before).abs().max() > 1e-4 for before, after in pairwise(seen))


def test_resample_without_noise_stops_at_the_official_error(tiny_prior: Prior) -> None:
    assert ReSample().limit(posed(1, sigma=0.0)).item() == pytest.approx(1e-6)
    assert ReSample(least_stop=0.0).limit(posed(1, sigma=0.0)).item() == 0


def test_what_a_task_lacks_is_said_before_any_step(tiny_prior: Prior) -> None:
    shape, info = (3, 64, 64), tiny_prior.info
    sensed = CompressedSensing(0.25, shape, ["a"])
    measured = InverseProblem(torch.zeros(1, *sensed.measurement_shape), sensed, 0.01, 1e-4)
    projected = SparseViewCT(64, shape)
    views = InverseProblem(torch.zeros(1, *projected.measurement_shape), projected, 0.01, 1e-4)
    psld = LatentDPS(steps=2, gluing="measurement", back="replicate")
    for problem in (measured, views):
        with pytest.raises(FieldError, match="back=replicate: repeats the pixels of y"):
            psld.check(problem, info)
        replace(psld, gluing="none").check(problem, info)
    psld.check(posed(1), info)
    with pytest.raises(FieldError, match="tau=null: takes the deviation of the noise"):
        LatentDAPS(tau=None).check(posed(1, sigma=0.0), info)
    LatentDAPS(tau=None).check(posed(1), info)
    saturated = InverseProblem(torch.zeros(1, *shape), HighDynamicRange(2.0, shape), 0.1, 0.0)
    with pytest.raises(FieldError, match="prox=CG: solves linear equations"):
        LatentDPS(prox=CG()).check(saturated, info)


@pytest.mark.parametrize("name", ["ldps", "gml_dps", "psld", "p2l", "latino", "latino_pro", "projdiff", "diffpir"])
def test_how_a_proximal_step_is_solved_is_a_choice(name: str) -> None:
    for option, kind in (("exact", Exact), ("cg", CG), ("descent", Descent)):
        solver = instantiate(composed(f"solver={name}", f"solver/prox={option}").solver, _convert_="all")
        assert type(solver.prox) is kind
    shipped = instantiate(composed("solver=latino_compat").solver, _convert_="all").prox
    assert shipped == CG(50, 1e-4, relative=True, guard=1e-8)


def test_latino_without_noise_meets_the_measurement(tiny_prior: Prior) -> None:
    problem = replace(posed(1, sigma=0.0))
    x = Latino().consistent(problem, torch.zeros(1, 3, 64, 64), Move(0, Level(999, 0.1, 0.99), Level(1, 1, 0)), None, 0)
    assert (problem.y - problem.operator.A(x)).abs().mean() < 0.05  # but for the clipping to [-1, 1]


def test_latent_priors_are_an_extension_of_projdiff(tiny_prior: Prior) -> None:
    with pytest.raises(FieldError, match="latent=false: the prior is one of latents"):
        ProjDiff().check(posed(1), tiny_prior.info)
    ProjDiff(latent=True).check(posed(1), tiny_prior.info)
    with pytest.raises(FieldError, match="form=spectral: the extension to latents has one form; take auto"):
        ProjDiff(latent=True, form="spectral").check(posed(1), tiny_prior.info)
    signals = replace(tiny_prior.info, signal_shape=(3, 64, 64), latent_channels=3, factor=1, multiple=1)
    with pytest.raises(FieldError, match=r"momentum=0\.5: belongs to the exact form, and this problem takes spectral"):
        ProjDiff(momentum=0.5).check(posed(1), signals)
    ProjDiff(momentum=0.5).check(posed(1, sigma=0.0), signals)


def test_the_form_of_projdiff_follows_the_problem() -> None:
    shape = (3, 64, 64)
    pooled = AveragePooling(factor=4, signal_shape=shape)
    assert ProjDiff().form_for(posed(1)) == "spectral"
    masked = BoxInpainting((0.25, 0.25, 0.5, 0.5), shape)  # has singular values, but one level will do (official)
    assert ProjDiff().form_for(InverseProblem(torch.zeros(1, *shape), masked, 0.1, 0.0)) == "uniform"
    assert ProjDiff().form_for(posed(1, sigma=0.0)) == "exact"
    assert ProjDiff().form_for(InverseProblem(torch.zeros(1, 3, 16, 16), pooled, 0.1, 0.0)) == "uniform"
    saturated = InverseProblem(torch.zeros(1, *shape), HighDynamicRange(2.0, shape), 0.1, 0.0)
    assert ProjDiff().form_for(saturated) == "uniform"
    assert ProjDiff(form="exact").form_for(saturated) == "exact"


def test_lmap_samples_again_from_its_descent(tiny_prior: Prior) -> None:
    refined = replace(RIVALS["lmap"], refine=LatentDPS(steps=5), refine_from=0.6)
    assert refined.steps == 2 + 3
    seen: list[Any] = []
    text = CONDITIONAL.start(tiny_prior, [{"prompt": "a cat"}])
    refined.solve(posed(1), text, tiny_prior, CONDITIONAL, KeyedNoise([StreamKey(0, "a")]), seen.append)
    assert [info.move.index for info in seen] == list(range(5))
    assert {info.total for info in seen} == {5}


def test_lmap_with_a_moving_text_and_samples_that_stop_apart_is_refused() -> None:
    """The text that samples again would have moved on while other samples went on."""
    moving = replace(CONDITIONAL, null_text=AdaptiveNegation(), guidance=ConstantGuidance(2.0))
    stopping = replace(RIVALS["lmap"].adam, stop=0.1)
    for policy, refine in ((moving, None), (CONDITIONAL, LatentDPS(steps=5))):
        replace(RIVALS["lmap"], adam=stopping, refine=refine).check_policy(policy)
    with pytest.raises(FieldError, match=r"adam\.stop=0\.1: must be null where a text moves and refine follows"):
        replace(RIVALS["lmap"], adam=stopping, refine=LatentDPS(steps=5)).check_policy(moving)


def test_delta_rules() -> None:
    residual = torch.tensor([2.0, 4.0])
    assert Delta(0.02, 0.002, 300).at(301, residual, 0.5).tolist() == pytest.approx([0.08, 0.16])
    assert Delta(2, 0.9, 300, "residual").at(300, residual, 0.5).tolist() == pytest.approx([1.8, 3.6])
    assert Delta(1, 0.5, 500, "one").at(999, residual, 0.5).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("solver", "field", "value"),
    [(LatentDPS, "gluing", "glue"), (LatentDPS, "omega", -1.0), (LatentDPS, "eta", 2.0), (LatentDPS, "text_every", 0),
     (LatentDAPS, "algorithm", "mala"), (LatentDAPS, "sigma_min", 20.0), (LatentDAPS, "momentum", 1.0),
     (LatentDAPS, "mcmc_steps", 0),
     (LatentDAPS, "ode_sigma_min", 0.2), (Latino, "start", "y"), (Latino, "spacing", "even"), (Latino, "rounds", -1),
     (ReSample, "variance", "both"), (ReSample, "every", 0), (ReSample, "free", 1.5), (ProjDiff, "form", "svd"),
     (ProjDiff, "repeats", 0), (LatentMAP, "noise_ratio", 0.0), (STSL, "inner", 0), (PromptAscent, "step", -1.0)],
)  # fmt: skip
def test_wrong_values_are_named(solver: type, field: str, value: object) -> None:
    with pytest.raises(FieldError, match=f"{field}={value}: "):
        solver(**{field: value})
