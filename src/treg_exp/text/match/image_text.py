"""Text match by an image-text encoder: a classifier that regularises the estimate."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.per_sample import beside, rms
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition
from treg_exp.text.image_text_score import ImageTextScore


@dataclass(frozen=True)
class ImageTextMatch:
    """Moves z_0 along the gradient of an image-text score of D(z_0), by steps of a stated length.

    The score is ``ImageTextScore``, a cosine or, with ``labels``, the logarithm of a probability.
    z_0 + strength sqrt(1 - share) g / RMS(g), with share that of the signal in z_t and g each sample's own gradient,
    through the decoder. eps stays.

    Attributes:
        strength: RMS of the move in pure noise, in units of the latent.
        start: share of the signal in z_t, in [0, 1], from which on it pulls; before it the estimate is no picture yet.
        stop: share up to which it pulls; the end costs as much and moves little.
        labels: other texts of a zero-shot classifier; none for the cosine.
        temperature: of the classifier's softmax over cosines; CLIP's own logit scale of 100 is 0.01.
        open_clip: an open_clip model; None is the prior's own encoder. Never the judge's: nobody scores itself.
    """

    strength: float = 0.2
    start: float = 0.02
    stop: float = 0.9
    labels: list[str] = field(default_factory=list)
    temperature: float = 0.01
    open_clip: OpenClipFiles | None = None

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise FieldError("strength", self.strength, "must be >= 0")
        if not 0 <= self.start < self.stop <= 1:
            raise FieldError("start", self.start, f"must be a share with 0 <= start < stop={self.stop} <= 1")
        _ = self.score  # which looks at the other values

    @property
    def score(self) -> ImageTextScore:
        """What is raised, per sample."""
        return ImageTextScore(self.labels, self.temperature, self.open_clip)

    def check(self, info: PriorInfo) -> None:
        """The score's encoder is needed."""
        self.score.check(info)

    def pull(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, at: Prediction) -> Prediction:
        """See ``TextMatch``."""
        share = level.signal_share
        pulls = (share >= self.start) & (share <= self.stop) if isinstance(share, Tensor) else None
        if not (pulls.any() if pulls is not None else self.start <= share <= self.stop):
            return at
        with torch.enable_grad():
            z_0 = at.z_0.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.score(prior, prior.decode(z_0), text).sum(), z_0)
        length = beside(rms(gradient), gradient)
        move = self.strength * (1 - share) ** 0.5 * gradient / length.clamp(min=torch.finfo(length.dtype).tiny)
        return Prediction(at.z_0 + (move if pulls is None else move * pulls), at.eps)
