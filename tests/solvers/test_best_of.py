"""The best of several tries: which one is kept, and what comes with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import CandidateNoise, KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.solvers.base import BEFORE_PROJECTION, Restoration, Solver
from treg_exp.solvers.baselines import PseudoInverse
from treg_exp.solvers.best_of import CHOSEN, CHOSEN_SCORE, BestOf
from treg_exp.solvers.inversion import Inversion
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional
from treg_exp.tasks.problems import EditProblem, InverseProblem
from treg_exp.text.image_text_score import ImageTextScore
from treg_exp.text.policy import TextPolicy

IDS, PROMPTS = ("apple", "bear", "crab", "dog"), ("a red apple", "a bear", "a crab on a beach", "a dog")
SMALL = TReg(steps=4)


@pytest.fixture(scope="module")
def problem() -> InverseProblem:
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    operator = BicubicDownsampling(factor=16, signal_shape=(3, 64, 64))
    return InverseProblem(operator.A(x), operator, 0.01, 1e-4)


def keyed(ids=IDS, draw: int = 0) -> KeyedNoise:
    return KeyedNoise([StreamKey(0, i, draw) for i in ids])


def solve(solver: Solver, prior, problem: Any, noise: Any = None, prompts=PROMPTS, **more: Any) -> Restoration:
    policy = TextPolicy()
    text = policy.start(prior, [{"prompt": prompt} for prompt in prompts])
    return solver.solve(problem, text, prior, policy, noise or keyed(), **more)


def test_one_candidate_is_the_solver_alone(tiny_prior, problem) -> None:
    alone = solve(SMALL, tiny_prior, problem)
    best = solve(BestOf(SMALL, candidates=1), tiny_prior, problem)
    assert torch.equal(best.signal, alone.signal)
    assert torch.equal(best.extras[BEFORE_PROJECTION], alone.extras[BEFORE_PROJECTION])


@pytest.mark.parametrize("labels", [[], ["a tomato", "a ball"]])
def test_each_sample_gets_its_own_best_try(tiny_prior, problem, labels: list[str]) -> None:
    score, policy = ImageTextScore(labels=labels), TextPolicy()
    text = policy.start(tiny_prior, [{"prompt": prompt} for prompt in PROMPTS])
    best = solve(BestOf(SMALL, 3, score), tiny_prior, problem)
    tries = [solve(SMALL, tiny_prior, problem, CandidateNoise(keyed(), k)) for k in range(3)]
    scores = torch.stack([score(tiny_prior, tried.signal.clamp(-1, 1), text) for tried in tries])
    assert best.extras[CHOSEN].tolist() == scores.argmax(0).tolist()
    assert len(set(best.extras[CHOSEN].tolist())) > 1  # they do differ from sample to sample
    torch.testing.assert_close(best.extras[CHOSEN_SCORE], scores.amax(0))
    for i, k in enumerate(scores.argmax(0).tolist()):
        assert torch.equal(best.signal[i], tries[k].signal[i])
        assert torch.equal(best.extras[BEFORE_PROJECTION][i], tries[k].extras[BEFORE_PROJECTION][i])


def test_order_and_size_of_the_batch_do_not_matter(tiny_prior, problem) -> None:
    solver = BestOf(SMALL, 3)
    together = solve(solver, tiny_prior, problem)
    for i in (3, 1):
        alone = solve(solver, tiny_prior, problem.of_sample(i), keyed(IDS[i : i + 1]), PROMPTS[i : i + 1])
        assert alone.extras[CHOSEN][0] == together.extras[CHOSEN][i]
        torch.testing.assert_close(alone.signal[0], together.signal[i], rtol=0, atol=1e-4)


def test_another_draw_has_other_tries(tiny_prior, problem) -> None:
    first, second = (solve(BestOf(SMALL, 2), tiny_prior, problem, keyed(draw=draw)).signal for draw in (0, 1))
    assert ((first - second).abs().amax((1, 2, 3)) > 1e-2).all()


@dataclass(frozen=True)
class Scripted(Solver):
    """Grey pictures, one level per try and sample; NaN is a try that failed."""

    levels: list[list[float]] = field(default_factory=list)
    steps: int = 0

    def solve(self, problem, text, prior, policy, noise, on_step=None) -> Restoration:
        levels = torch.tensor(self.levels[noise.candidate])
        signal = levels.view(-1, 1, 1, 1).expand(-1, 3, 64, 64)
        return Restoration(signal, {"inverted": signal[:, :1]}, {"words": [f"{value:g}" for value in levels.tolist()]})


@dataclass(frozen=True)
class Brightness(ImageTextScore):
    """The mean of the picture."""

    def __call__(self, prior, x: Tensor, text) -> Tensor:
        return x.flatten(1).mean(1)


def test_a_failed_try_is_kept_only_where_all_failed(tiny_prior, problem) -> None:
    nan, inf = float("nan"), float("inf")
    of = Scripted([[nan, 0.1, 0.2, nan], [-0.5, nan, 0.2, inf], [-0.6, 0.3, 0.1, nan]])
    best = solve(BestOf(of, 3, Brightness()), tiny_prior, problem)
    assert best.extras[CHOSEN].tolist() == [1, 2, 0, 0]  # of equal ones the first
    assert best.extras["words"] == ["-0.5", "0.3", "0.2", "nan"]
    assert best.extras[CHOSEN_SCORE].tolist() == pytest.approx([-0.5, 0.3, 0.2, -inf])
    torch.testing.assert_close(best.latents["inverted"][:3, 0, 0, 0], torch.tensor([-0.5, 0.3, 0.2]))


def test_values_beyond_the_range_do_not_score(tiny_prior, problem) -> None:
    best = solve(BestOf(Scripted([[1.0] * 4, [5.0] * 4]), 2, Brightness()), tiny_prior, problem)
    assert best.extras[CHOSEN].tolist() == [0] * 4


def test_it_is_what_the_other_solver_is() -> None:
    solver = BestOf(Unconditional(steps=5), 3)
    assert solver.steps == 15
    assert solver.problems == (InverseProblem, EditProblem)
    assert solver.roles == ("source",)
    assert (solver.needs_gradient, BestOf(SMALL).needs_gradient) == (False, True)


def test_an_encoder_and_one_picture_are_needed(tiny_prior, problem) -> None:
    BestOf(SMALL).check(problem, tiny_prior.info)
    with pytest.raises(FieldError, match=r"^score\.open_clip=null: the prior has no encoder of images and texts"):
        BestOf(SMALL).check(problem, replace(tiny_prior.info, feature_width=None))
    with pytest.raises(FieldError, match=r"^score=ImageTextScore: scores one picture at a time"):
        BestOf(SMALL).check(problem, replace(tiny_prior.info, medium="audio"))
    with pytest.raises(FieldError, match=r"^of\.alpha_shift=1: "):
        BestOf(TReg(alpha_shift=1)).check(problem, replace(tiny_prior.info, schedule=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestOf(candidates=0), r"candidates=0: must be an integer >= 1"),
        (lambda: BestOf(candidates=2.0), r"candidates=2.0: must be an integer >= 1"),
        (lambda: BestOf(Inversion()), r"of=Inversion: draws no random numbers"),
        (lambda: BestOf(PseudoInverse()), r"of=PseudoInverse: draws no random numbers"),
        (lambda: BestOf(BestOf()), r"of=BestOf: has tries of its own"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()
