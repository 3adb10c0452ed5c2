"""What a level makes of a network's output, and how a move adds noise."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import EDM_DATA_STD, Level, Move, Prediction, check_kind, check_moves, reversed_moves
from treg_exp.schedule.sigma import Karras

VP = Level(500, math.sqrt(0.3), math.sqrt(0.7))
FLOW = Level(700, 0.3, 0.7)
EDM = Level(0.1, 1.0, 1.5)


def _pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    z_0, eps = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).double()
    return z_0, eps


def _output(kind: str, level: Level, z_0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """What a network that knows both would say, from the definitions of its training targets."""
    if kind == "edm":  # Karras et al., table 1: D = c_skip z_t + c_out F
        s, d = level.sigma, EDM_DATA_STD
        return (z_0 - d**2 / (s**2 + d**2) * (z_0 + s * eps)) / (s * d / (s**2 + d**2) ** 0.5)
    return {
        "epsilon": eps,
        "sample": z_0,
        "v_prediction": level.alpha * eps - level.sigma * z_0,
        "flow": eps - z_0,
    }[kind]


KINDS = [("epsilon", VP), ("sample", VP), ("v_prediction", VP), ("flow", FLOW), ("edm", EDM)]


@pytest.mark.parametrize(("kind", "level"), KINDS)
def test_every_kind_gives_signal_and_noise_back(kind: str, level: Level) -> None:
    z_0, eps = _pair(2, 3, 4, 4)
    at = level.predict(_output(kind, level, z_0, eps), level.noisy(z_0, eps), kind)
    torch.testing.assert_close(at.z_0, z_0)
    torch.testing.assert_close(at.eps, eps)


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 1, 4, 4), (2, 3, 4, 4)])
@pytest.mark.parametrize(("kind", "level"), KINDS)
def test_levels_may_differ_per_sample_and_pixel(kind: str, level: Level, shape: tuple[int, ...]) -> None:
    """Each place gets what a level of bare numbers gives it."""
    z_0, eps = _pair(2, 3, 4, 4)
    sigma = torch.linspace(0.2, 0.9, math.prod(shape)).double().view(shape)
    alpha = {"flow": 1 - sigma, "edm": torch.ones_like(sigma)}.get(kind, (1 - sigma**2).sqrt())
    varying = Level(level.t, alpha, sigma)
    at = varying.predict(_output(kind, varying, z_0, eps), varying.noisy(z_0, eps), kind)
    torch.testing.assert_close(at.z_0, z_0)
    torch.testing.assert_close(at.eps, eps)
    one = Level(level.t, float(alpha[-1, -1, -1, -1]), float(sigma[-1, -1, -1, -1]))
    output = _output(kind, varying, z_0, eps)[-1, -1, -1, -1]
    alone = one.predict(output, varying.noisy(z_0, eps)[-1, -1, -1, -1], kind)
    torch.testing.assert_close(alone.z_0, z_0[-1, -1, -1, -1])


@pytest.mark.parametrize("kind", ["v_prediction", "sample", "flow"])
def test_nothing_is_divided_by_zero_where_no_signal_is_left(kind: str) -> None:
    z_0, eps = _pair(2, 3, 4, 4)
    level = Level(999, 0.0, 1.0)
    at = level.predict(_output(kind, level, z_0, eps), eps, kind)
    torch.testing.assert_close(at.z_0, z_0)
    torch.testing.assert_close(at.eps, eps)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow", "edm"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_clean_end_is_finite(kind: str, as_tensor: bool) -> None:
    z_0, eps = _pair(2, 3, 4, 4)
    numbers = (torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)) if as_tensor else (1.0, 0.0)
    level = Level(0, *numbers)
    output = {"epsilon": eps, "v_prediction": eps, "sample": z_0, "flow": eps - z_0, "edm": eps}[kind]
    at = level.predict(output, z_0, kind)
    torch.testing.assert_close(at.z_0, z_0)
    assert at.eps.isfinite().all()


def test_a_move_without_noise_is_ddim_and_with_it_keeps_the_variance() -> None:
    move = Move(0, VP, Level(400, math.sqrt(0.4), math.sqrt(0.6)))
    z_0, eps = _pair(200_000)
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(move(Prediction(z_0, eps)), math.sqrt(0.4) * z_0 + math.sqrt(0.6) * eps)
    silent = Prediction(torch.zeros_like(z_0), eps)
    for eta in (0.0, 0.3, move.next.alpha, 1.0):
        z = move(silent, eta=eta, noise=noise)
        assert z.var() == pytest.approx(0.6, rel=0.02)
        share = torch.corrcoef(torch.stack([z, noise]))[0, 1]
        assert share == pytest.approx(eta, abs=0.01)
    varying = move(silent, eta=torch.full((200_000,), 0.3).double(), noise=noise)
    torch.testing.assert_close(varying, move(silent, eta=0.3, noise=noise))


def test_the_move_of_a_flow_is_an_euler_step() -> None:
    z_0, eps = _pair(2, 3, 4, 4)
    move = Move(0, FLOW, Level(500, 0.5, 0.5))
    z_t, velocity = FLOW.noisy(z_0, eps), torch.ones_like(eps)
    stepped = move(FLOW.predict(velocity, z_t, "flow"))
    torch.testing.assert_close(stepped, z_t + (0.5 - 0.7) * velocity)


@pytest.mark.parametrize("schedule", [Flow(shift=3.0), Karras()])
def test_reversed_moves_visit_the_same_levels_upwards(schedule: Flow | Karras) -> None:
    down = schedule.moves(5, (4, 8, 8))
    up = reversed_moves(down)
    assert [move.index for move in up] == list(range(5))
    assert (up[0].now, up[-1].next) == (down[-1].next, down[0].now)
    for first, second in pairwise(up):
        assert first.next == second.now
        assert first.now.sigma < first.next.sigma
    z_0, eps = _pair(2, 3)
    torch.testing.assert_close(up[-1](Prediction(z_0, eps)), down[0].now.noisy(z_0, eps))


def test_noise_estimates_are_refused_where_nothing_is_left_of_the_signal() -> None:
    moves = [Move(0, Level(999, 0.0, 1.0), VP)]
    with pytest.raises(FieldError, match=r"no signal at timestep 999.*needs v_prediction or sample"):
        check_moves(moves, "epsilon")
    for kind in ("v_prediction", "sample", "flow"):
        check_moves(moves, kind)
    with pytest.raises(FieldError, match="prediction_type=score: allowed are epsilon, v_prediction, sample, flow, edm"):
        check_kind("score")


def test_eta_without_noise_is_refused() -> None:
    z_0, eps = _pair(2, 3)
    with pytest.raises(ValueError, match="takes noise"):
        Move(0, VP, FLOW)(Prediction(z_0, eps), eta=0.5)


def test_levels_of_a_batch_that_is_repeated() -> None:
    sigma = torch.tensor([0.2, 0.6]).view(2, 1, 1, 1)
    tiled = Level(torch.tensor([200.0, 600.0]), 0.5, sigma).tiled(2)
    assert tiled.t.tolist() == [200, 600, 200, 600]
    assert tiled.alpha == 0.5
    assert tiled.sigma.flatten().tolist() == pytest.approx([0.2, 0.6, 0.2, 0.6])
    shared = Level(torch.tensor(200.0), torch.ones(1, 3, 4, 4), 0.5)
    assert shared.tiled(2) == shared, "what all samples share is broadcast"
