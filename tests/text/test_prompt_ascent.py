"""LATINO-PRO's prompt: moves after each step, or once a round along the sum of the steps' gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.solvers.test_rivals import CONDITIONAL, posed
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.priors.prior import Prior
from treg_exp.solvers.latino import Latino
from treg_exp.solvers.treg import TReg
from treg_exp.text.condition import TextCondition
from treg_exp.text.prompt_ascent import PromptAscent
from treg_exp.text.state import StepState

TIMES = [(900, 600), (600, 300), (300, 100)]


def states(prior: Prior, text: TextCondition, batch: int = 1, turn: int = 0) -> list[StepState]:
    """The steps of a round, whose latents are random, and its last step."""
    draws, problem, found = torch.Generator().manual_seed(0), posed(batch), []
    for before, after in TIMES:
        z_t, z_next = torch.randn(2, batch, 4, 8, 8, generator=draws)
        level, below = prior.info.schedule.level(before), prior.info.schedule.level(after)
        at = prior.predict(z_t, level, text.prompt)
        found.append(StepState(z_t, level, at, torch.zeros(1), problem.misfit, z_next, below, turn))
    return [*found, replace(found[-1], z_next=None)]


def slopes(prior: Prior, text: TextCondition, steps: list[StepState]) -> Tensor:
    """Gradient of the sum of the steps' log-likelihoods, of one graph."""
    tokens, total = text.prompt.tokens.clone().requires_grad_(), torch.zeros(())
    for state in steps:
        if state.z_next is not None and state.next is not None:
            z_0 = prior.predict(state.z_t, state.level, text.prompt.with_tokens(tokens)).z_0
            mean, share = state.next.alpha * z_0, state.next.sigma**2
            total = total - ((state.z_next - mean) ** 2).sum() / (2 * share)
    return torch.autograd.grad(total, tokens)[0]


@pytest.mark.parametrize(("turn", "length"), [(0, 0.08), (10, 0.08), (12, 0.08 * 0.81)])
def test_once_a_round_it_climbs_the_likelihood_of_all_steps(turn: int, length: float, tiny_prior: Prior) -> None:
    """Nothing moves before the last step; then every token but the first four goes along its gradient."""
    rule, text = PromptAscent(moves="round"), CONDITIONAL.start(tiny_prior, [{"prompt": "a cat"}])
    steps, first = states(tiny_prior, text, turn=turn), text.prompt.tokens
    expected = slopes(tiny_prior, text, steps)
    for state in steps[:-1]:
        text = rule.update(tiny_prior, text, state)
        assert text.prompt.tokens is first
    text = rule.update(tiny_prior, text, steps[-1])
    assert text.prompt_slope is None
    way = (text.prompt.tokens - first)[0, 4:]
    assert (text.prompt.tokens - first)[0, :4].abs().max() == 0
    torch.testing.assert_close(way, length * expected[0, 4:] / expected[0, 4:].norm(dim=-1, keepdim=True))


@pytest.mark.parametrize(("moves", "expected"), [("step", [0, 0, 1, 1]), ("round", [0, 1])])
def test_rounds_of_the_solver(
    moves: str, expected: list[int], tiny_prior: Prior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rounds of three steps, of which the last tells nothing: four moves of 0.08, or two; by the turn of each."""
    text, turns, moved = CONDITIONAL.start(tiny_prior, [{"prompt": "a cat"}]), list[int](), PromptAscent.moved

    def watched(self: PromptAscent, before: TextCondition, gradient: Tensor, turn: int) -> TextCondition:
        turns.append(turn)
        after = moved(self, before, gradient, turn)
        lengths = (after.prompt.tokens - before.prompt.tokens)[0, 4:].norm(dim=-1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.08), rtol=1e-3, atol=0)
        return after

    monkeypatch.setattr(PromptAscent, "moved", watched)
    policy = replace(CONDITIONAL, prompt_rule=PromptAscent(moves=moves))
    noise = KeyedNoise([StreamKey(0, "a")])
    signal = Latino(steps=2, round_steps=3, rounds=2).solve(posed(1), text, tiny_prior, policy, noise).signal
    assert turns == expected
    assert signal.isfinite().all()


def test_a_sample_moves_alone_as_in_a_batch(tiny_prior: Prior) -> None:
    rule, both = PromptAscent(moves="round"), CONDITIONAL.start(tiny_prior, [{"prompt": "a cat"}, {"prompt": "a dog"}])
    one = CONDITIONAL.start(tiny_prior, [{"prompt": "a dog"}])
    for state in states(tiny_prior, both, batch=2):
        z_next = None if state.z_next is None else state.z_next[1:]
        both = rule.update(tiny_prior, both, state)
        one = rule.update(tiny_prior, one, replace(state, z_t=state.z_t[1:], z_next=z_next))
    torch.testing.assert_close(one.prompt.tokens[0], both.prompt.tokens[1], rtol=0, atol=1e-4)


def test_moves_once_a_round_need_rounds() -> None:
    policy = replace(CONDITIONAL, prompt_rule=PromptAscent(moves="round"))
    for solver in (Latino(), TReg()):
        with pytest.raises(FieldError, match=r"prompt_rule.moves=round: moves at the end of a run, and \w+ has"):
            solver.check_policy(policy)
    Latino(rounds=1).check_policy(policy)
    with pytest.raises(FieldError, match="moves=run: allowed are step, round"):
        PromptAscent(moves="run")
