"""Best of several tries of another solver, by an image-text score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_integers
from treg_exp.noise import CandidateNoise, Noise
from treg_exp.numerics.per_sample import beside
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, ignore
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.wrapper import Wrapper
from treg_exp.tasks.problems import Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.image_text_score import ImageTextScore
from treg_exp.text.policy import TextPolicy

#: Among ``Restoration.extras``, (B,) each: the number of the try that was kept, and its score.
CHOSEN, CHOSEN_SCORE = "candidate", "candidate_score"


@dataclass(frozen=True)
class BestOf(Wrapper):
    """Solves a batch several times with independent noise, and keeps for each sample the try with the highest score.

    The first try is what ``of`` gives alone. The others draw from streams of their own, which belong to the same seed,
    sample and draw. A try with a non-finite value is kept only where every other has one, too. What is scored is the
    picture as it is saved, clamped to [-1, 1].

    Attributes:
        of: the solver of each try.
        candidates: number of tries; time and evaluations grow with it, memory does not.
        score: of a picture and its prompt.
    """

    of: Solver = field(default_factory=TReg)
    candidates: int = 4
    score: ImageTextScore = field(default_factory=ImageTextScore)

    def __post_init__(self) -> None:
        check_integers(self, 1, "candidates")
        if isinstance(self.of, BestOf):
            raise FieldError("of", "BestOf", "has tries of its own; take another solver and more candidates")
        if not self.of.uses_noise:
            raise FieldError(
                "of", type(self.of).__name__, "draws no random numbers, so all tries would be the same; take another"
            )
        super().__post_init__()
        object.__setattr__(self, "steps", self.candidates * self.of.steps)
        object.__setattr__(self, "reads_prompt", True)  # by the score

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; the score needs pictures and an encoder of them."""
        try:
            self.of.check(problem, info)
        except FieldError as error:
            raise error if error.field in ("problem", "operator") else error.at("of") from error
        if info.medium != "image" or len(problem.signal_shape) != 3:
            raise FieldError("score", type(self.score).__name__, "scores one picture at a time; take another solver")
        try:
            self.score.check(info)
        except FieldError as error:
            raise error.at("score") from error

    @torch.no_grad()
    def solve(
        self, problem: Problem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`; latents and extras are those of the tries that were kept."""
        best = self._scored(0, problem, text, prior, policy, noise, on_step)
        for candidate in range(1, self.candidates):
            tried = self._scored(candidate, problem, text, prior, policy, noise, on_step)
            better = tried.extras[CHOSEN_SCORE] > best.extras[CHOSEN_SCORE]
            best = Restoration(
                _merged(better, tried.signal, best.signal),
                _merged_all(better, tried.latents, best.latents),
                _merged_all(better, tried.extras, best.extras),
            )
        return best

    def _scored(
        self, candidate: int, problem: Problem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep,
    ) -> Restoration:  # fmt: skip
        """One try, with its number and score among the extras; what is non-finite has the lowest score there is."""

        def report(info: StepInfo) -> None:
            index = candidate * self.of.steps + info.move.index
            on_step(replace(info, move=replace(info.move, index=index), total=self.steps, attempt=candidate))

        tried = self.of.solve(problem, text, prior, policy, CandidateNoise(noise, candidate), report)
        score = self.score(prior, tried.signal.clamp(-1, 1), text)
        finite = tried.signal.flatten(1).isfinite().all(1) & score.isfinite()
        score = score.masked_fill(~finite, -torch.inf)
        number = torch.full_like(score, candidate)
        return replace(tried, extras={**tried.extras, CHOSEN: number, CHOSEN_SCORE: score})


def _merged(better: Tensor, new: Any, old: Any) -> Any:
    """Of two batches, (B, ...) each or sequences of B, the new where it is better and the old elsewhere."""
    if isinstance(new, Tensor):
        return torch.where(beside(better, new), new, old)
    return [one if wins else other for wins, one, other in zip(better.tolist(), new, old, strict=True)]


def _merged_all(better: Tensor, new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _merged(better, value, old[name]) for name, value in new.items()}
