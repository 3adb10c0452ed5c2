"""What official codes do and no setting brings back, to measure what it changes; docs/solvers.md has the results.

    PYTHONPATH=docs/results/scripts python run.py --packages official_ways experiment=single task=sr_x8 metrics=judge \
      data=emoji_validation data.limit=16 method=psld solver._target_=official_ways.SampledCode run_dir=runs/sampled

Noise comes from one generator with a fixed seed: these runs, unlike others, depend on batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from treg_exp.numerics.leaf import leaf_gradient, norms
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level
from treg_exp.solvers.base import Restoration
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.stsl import STSL
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.prompt_tuning import PromptTuning

GENERATOR = torch.Generator().manual_seed(0)


def fresh(like: Tensor) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(like.shape, generator=GENERATOR)


class SampledCode(LatentDPS):
    """PSLD or GML-DPS whose encoder draws from its posterior."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.gluing != "none", "nothing is encoded without gluing"
        assert self.gamma, "nothing is encoded with gamma=0"

    def loss(self, problem: InverseProblem, prior: Prior, z_0: Tensor, x: Tensor) -> Tensor:
        """See :class:`LatentDPS`."""
        value = self.omega * norms(problem.operator.residual(problem.y, x))
        return value + self.gamma * norms(prior.encode(self.glued(problem, x), fresh(z_0)) - z_0)


class NoisyPrediction(LatentDPS):
    """LDPS, GML-DPS or PSLD that add noise to A(x) before it is compared with y, but not in the gluing."""

    def loss(self, problem: InverseProblem, prior: Prior, z_0: Tensor, x: Tensor) -> Tensor:
        """See :class:`LatentDPS`."""
        noisy = problem.operator.residual(problem.y, x) - problem.sigma * fresh(problem.y)
        value = self.omega * norms(noisy)
        if self.gluing == "none":
            return value
        return value + self.gamma * norms(prior.encode(self.glued(problem, x)) - z_0)


class ClippedProjection(LatentDPS):
    """P2L whose projection begins with an estimate in [-1, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.project_every, "there is no projection with project_every=0"

    def projected(self, problem: InverseProblem, x: Tensor) -> Tensor:
        """See :class:`LatentDPS`."""
        return super().projected(problem, x.clamp(-1, 1))


class BackProjected(InverseProblem):
    """A problem whose first picture is A^T y."""

    def preview(self) -> Tensor:
        """See :class:`InverseProblem`."""
        return self.operator.adjoint(self.y)


class FromBackProjection(STSL):
    """STSL that begins with A^T y."""

    needs_linear = True

    def solve(self, problem: InverseProblem, *more: Any, **named: Any) -> Restoration:
        """See :class:`Solver`."""
        back = BackProjected(problem.y, problem.operator, problem.sigma, problem.lam)
        return super().solve(back, *more, **named)


@dataclass(frozen=True)
class OneAdam(PromptTuning):
    """P2L's prompt with one Adam for the whole run; of its fields the rate, betas, eps and iterations count."""

    kept: dict[str, Any] = field(default_factory=dict)

    def prepare(
        self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, misfit: Callable[[Tensor], Tensor]
    ) -> TextCondition:
        """See :class:`PromptTuning`."""
        tokens = text.prompt.tokens
        if self.kept.get("tokens") is not tokens:  # a new batch
            self.kept.update(first=torch.zeros_like(tokens), second=torch.zeros_like(tokens), step=0)

        def loss(moved: Tensor) -> tuple[Tensor, None]:
            at = prior.predict(z_t.detach(), level, text.prompt.with_tokens(moved))
            return misfit(prior.decode(at.z_0)), None

        for _ in range(self.adam.iterations):
            gradient, _, _ = leaf_gradient(loss, tokens)
            self.kept["step"] += 1
            first = self.kept["first"].lerp_(gradient, 1 - self.adam.betas[0])
            second = self.kept["second"].lerp_(gradient.square(), 1 - self.adam.betas[1])
            mean, square = (
                moment / (1 - beta ** self.kept["step"])
                for moment, beta in zip((first, second), self.adam.betas, strict=True)
            )
            tokens = tokens - self.adam.lr * mean / (square.sqrt() + self.adam.eps)
        self.kept["tokens"] = tokens
        return text.with_prompt(text.prompt.with_tokens(tokens))


@dataclass(frozen=True)
class OneMove(PromptTuning):
    """P2L's prompt that moves at the first step alone."""

    kept: list[Tensor] = field(default_factory=list)

    def prepare(
        self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, misfit: Callable[[Tensor], Tensor]
    ) -> TextCondition:
        """See :class:`PromptTuning`."""
        if self.kept and self.kept[-1] is text.prompt.tokens:
            return text
        moved = super().prepare(prior, z_t, level, text, misfit)
        self.kept[:] = [moved.prompt.tokens]
        return moved
