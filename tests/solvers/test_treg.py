from __future__ import annotations

from dataclasses import astuple, replace

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.metrics.residual import residual
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.methods import CG, Exact
from treg_exp.operators.nonlinear.phase import PhaseRetrieval
from treg_exp.priors.counting import counted
from treg_exp.schedule.levels import Level, Move
from treg_exp.solvers.base import BEFORE_PROJECTION
from treg_exp.solvers.last_projection import LastProjection
from treg_exp.solvers.treg import DataSteps, TReg
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy

POLICY = TextPolicy(ConstantGuidance(3.0), FixedNullText())


def run(prior, solver: TReg, sigma: float = 0.0, lam: float = 0.0, policy: TextPolicy = POLICY):
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    watched, calls = counted(prior)
    problem = InverseProblem(operator.A(x), operator, sigma, lam)
    text = policy.start(prior, [{"prompt": "a cat"}])
    image = solver.solve(problem, text, watched, policy, KeyedNoise([StreamKey(0, "a")])).signal
    return image, problem, calls


def test_released_window_has_57_of_200_steps() -> None:
    """Specification: k % 3 == 0 and k < 170; with fewer than 170 steps the data steps run to the end."""
    window = DataSteps(every=3, stop_index=170)
    inside = [k for k in range(200) if window.contains(k, 200)]
    assert (len(inside), inside[0], inside[-1]) == (57, 0, 168)
    assert [k for k in range(20) if window.contains(k, 20)] == list(range(0, 20, 3))


def test_fractions_scale_with_the_run() -> None:
    window = DataSteps(every=1, start=0.25, stop=0.75)
    assert [k for k in range(8) if window.contains(k, 8)] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("steps", "fraction", "edge"), [(50, 0.28, 14), (100, 0.07, 7), (200, 0.55, 110), (50, 0.85, 42.5)]
)
def test_the_edges_of_a_window_are_free_of_rounding(steps: int, fraction: float, edge: float) -> None:
    """0.28 * 50 is 14.000000000000002 in floating point."""
    before, after = DataSteps(every=1, stop=fraction), DataSteps(every=1, start=fraction)
    assert [k for k in range(steps) if before.contains(k, steps)] == [k for k in range(steps) if k < edge]
    assert [k for k in range(steps) if after.contains(k, steps)] == [k for k in range(steps) if k >= edge]


def test_both_ends_of_a_window_count() -> None:
    assert [k for k in range(10) if DataSteps(every=1, stop=0.5, stop_index=3).contains(k, 10)] == [0, 1, 2]
    assert [k for k in range(10) if DataSteps(every=1, stop=0.2, stop_index=3).contains(k, 10)] == [0, 1]
    with pytest.raises(ValueError, match="stop_index=-1: must be >= 0"):
        DataSteps(stop_index=-1)


def test_final_projection_fits_a_noiseless_measurement(tiny_prior) -> None:
    image, problem, _ = run(tiny_prior, TReg(steps=6))
    assert (problem.y - problem.operator.A(image)).abs().max() < 1e-5
    loose, problem, _ = run(tiny_prior, TReg(steps=6, final_projection=False))
    assert (problem.y - problem.operator.A(loose)).abs().max() > 1e-2


def test_the_last_projection_fits_better_where_it_knows_the_range(tiny_prior) -> None:
    """Clamping afterwards undoes a part of the fit; the restorations before it are the same."""

    def misfit(iterations: int) -> float:
        image, problem, _ = run(
            tiny_prior, TReg(steps=6, final_iterations=iterations, final_residual=None), sigma=0.01, lam=1e-5
        )
        assert image.abs().max() <= 1
        return float((problem.y - problem.operator.A(image)).square().mean().sqrt())

    assert misfit(20) < 0.5 * misfit(0)


@pytest.mark.parametrize("target", [0.5, 1.0, 2.0])
def test_the_last_projection_stops_at_the_noise(tiny_prior, target: float) -> None:
    solver = TReg(steps=6, final_residual=target)
    image, problem, _ = run(tiny_prior, solver, sigma=0.01, lam=1e-5)
    assert residual(image, problem).item() == pytest.approx(target, rel=0.011)
    closer, _, _ = run(tiny_prior, replace(solver, final_residual=None), sigma=0.01, lam=1e-5)
    assert residual(closer, problem).item() < 0.2  # the ridge of the other steps


def test_without_noise_there_is_nothing_to_stop_at(tiny_prior) -> None:
    """The last projection is the one of the other steps, and so is that of a non-linear task."""
    with_target, without = (run(tiny_prior, TReg(steps=6, final_residual=target))[0] for target in (1.0, None))
    assert torch.equal(with_target, without)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    operator = PhaseRetrieval(1.0, (3, 16, 16))
    problem = InverseProblem(operator.A(x) + 0.3, operator, 0.05, 0.1)
    start = 0.5 * x
    expected = operator.prox(problem.y, start, 0.1).clamp(-1, 1)
    assert torch.equal(LastProjection()(problem, start), expected)


def test_the_signal_before_the_last_projection_is_returned_as_well(tiny_prior) -> None:
    def extras(solver: TReg) -> dict:
        _, problem, _ = run(tiny_prior, solver, sigma=0.01, lam=1e-5)
        text = POLICY.start(tiny_prior, [{"prompt": "a cat"}])
        return dict(solver.solve(problem, text, tiny_prior, POLICY, KeyedNoise([StreamKey(0, "a")])).extras)

    loose, _, _ = run(tiny_prior, TReg(steps=6, final_projection=False), sigma=0.01, lam=1e-5)
    assert torch.equal(extras(TReg(steps=6))[BEFORE_PROJECTION], loose)
    assert extras(TReg(steps=6, final_projection=False)) == {}


@pytest.mark.parametrize(
    ("field", "value"), [("final_iterations", -1), ("final_penalty", 0.0), ("final_residual", 0.0)]
)
def test_a_last_projection_that_cannot_be(field: str, value: float) -> None:
    with pytest.raises(FieldError, match=rf"{field}={value}: must be (>|in \[0)"):
        TReg(**{field: value})


def test_steps_against_the_gradient_alone() -> None:
    with pytest.raises(ValueError, match=r"dps_scale=-1\.0: must be >= 0, or null"):
        TReg(dps_scale=-1.0)


def test_what_a_restoration_costs(tiny_prior) -> None:
    assert astuple(run(tiny_prior, TReg(steps=6))[2]) == (12, 0, 2, 3)  # two data steps, and the last decoding
    conditional = TextPolicy(ConstantGuidance(1.0), FixedNullText())
    assert run(tiny_prior, TReg(steps=6), policy=conditional)[2].forward == 6
    # dps steps ask for the null text alone: data steps 0 and 3 cost two evaluations, the other four one, and a gradient
    assert astuple(run(tiny_prior, TReg(steps=6, off_window="dps"))[2]) == (8, 4, 2, 7)


@pytest.mark.parametrize(
    "changed",
    [
        {"data_steps": DataSteps(every=2)},
        {"lam": 1.0},
        {"prox": CG(1, 0.0)},
        {"encoder": "sample"},
        {"blend": "data_only"},
        {"renoise": "ddim"},
        {"off_window": "dps"},
        {"final_projection": False},
        {"alpha_shift": 1},
    ],
)
def test_every_field_changes_the_result(tiny_prior, changed: dict) -> None:
    base = TReg(steps=6)
    assert (run(tiny_prior, base)[0] - run(tiny_prior, replace(base, **changed))[0]).abs().max() > 1e-4


def test_dps_scale_is_the_step_size(tiny_prior) -> None:
    base = TReg(steps=6, off_window="dps", dps_scale=0.0)
    images = [run(tiny_prior, replace(base, dps_scale=s))[0] for s in (0.0, 0.5)]
    assert (images[0] - images[1]).abs().max() > 1e-4


def test_lam_comes_from_the_measurement_unless_given(tiny_prior) -> None:
    own, _, _ = run(tiny_prior, TReg(steps=4, lam=0.01), lam=5.0)
    same, _, _ = run(tiny_prior, TReg(steps=4), lam=0.01)
    torch.testing.assert_close(own, same)


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0])
def test_lam_follows_the_noise_as_asked(tiny_prior, power: float) -> None:
    """lam (1 - alpha_bar)^-power: at alpha_bar = 0.75, 1/4 of it, all of it, twice and four times as much."""
    solver = TReg(lam=0.5, lam_power=power)
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    x, start = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = InverseProblem(operator.A(x), operator, 0.01, 1.0)
    move = Move(3, Level(500, 0.75**0.5, 0.5), Level(400, 0.9, 0.19**0.5))
    expected = operator.prox(problem.y, start, 0.5 * 4**power, solver.prox)
    torch.testing.assert_close(solver.project(problem, start, move), expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lam_power", 9.0),
     ("steps", 0), ("steps", "many"), ("lam", -1.0), ("encoder", "mode"), ("blend", "half"), ("renoise", "no"),
     ("off_window", "psld"), ("alpha_shift", 2)],
)  # fmt: skip
def test_wrong_values_are_named(field: str, value) -> None:
    with pytest.raises(ValueError, match=f"{field}={value}"):
        TReg(**{field: value})


@pytest.mark.parametrize("wrong", [{"every": 0}, {"start": 0.6, "stop": 0.5}, {"stop": 1.5}])
def test_wrong_windows_are_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"(every|start)="):
        DataSteps(**wrong)


def test_exact_is_the_default() -> None:
    assert TReg().prox == Exact()
