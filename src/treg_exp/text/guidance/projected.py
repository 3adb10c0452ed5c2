"""Adaptive projected guidance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.per_sample import beside, rms
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition
from treg_exp.text.guidance.base import both_answers


@dataclass(frozen=True)
class ProjectedGuidance:
    """Adaptive projected guidance (APG, Sadat et al., 2410.02416), which oversaturates less at high scales.

    z_0 = prompt + (scale - 1) (d_orthogonal + parallel * d_parallel), where d = prompt - null is shortened to ``limit``
    and split along the prompt's estimate, for each sample by itself. The paper's momentum is left out: a rule has no
    memory of earlier steps.

    Attributes:
        scale: as of classifier-free guidance.
        parallel: weight eta of the part along the prompt's estimate (paper: 0; 1 keeps all of it).
        limit: largest RMS of d, in units of the latent; None does not shorten it. The paper's radii (15 for SDXL at
            1024 px, 7.5 for Stable Diffusion 2 at 512 px) are both an RMS of 0.059.
    """

    scale: float = 3.0
    parallel: float = 0.0
    limit: float | None = None

    def __post_init__(self) -> None:
        if not self.scale >= 1:
            raise FieldError("scale", self.scale, "must be >= 1 (1 = prompt only)")
        if not 0 <= self.parallel <= 1:
            raise FieldError("parallel", self.parallel, "must be in [0, 1]")
        if self.limit is not None and not self.limit > 0:
            raise FieldError("limit", self.limit, "must be > 0, or null for none")

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See ``Guidance``."""
        if self.scale == 1:
            return prior.predict(z_t, level, text.prompt)
        null, prompt = both_answers(prior, z_t, level, text)
        difference = self._shortened(prompt.z_0 - null.z_0)
        along = _along(difference, prompt.z_0)
        z_0 = prompt.z_0 + (self.scale - 1) * (difference - (1 - self.parallel) * along)
        return Prediction(z_0, level.noise_in(z_t, z_0))

    def _shortened(self, difference: Tensor) -> Tensor:
        if self.limit is None:
            return difference
        length = beside(rms(difference), difference)
        return difference * (self.limit / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(max=1.0)


def _along(vector: Tensor, direction: Tensor) -> Tensor:
    """The part of each sample's vector along its direction."""
    v, d = vector.flatten(1), direction.flatten(1)
    share = (v * d).sum(1, keepdim=True) / d.square().sum(1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny)
    return (share * d).view_as(vector)
