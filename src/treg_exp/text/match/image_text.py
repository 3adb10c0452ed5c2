"""Text match by an image-text encoder: a classifier that regularises the estimate."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.per_sample import beside, rms
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import ImageText, Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition


@dataclass(frozen=True)
class ImageTextMatch:
    """Moves z_0 along the gradient of an image-text score of D(z_0), by steps of a stated length.

    The score is the cosine between picture and prompt or, with ``labels``, the logarithm of the probability that a
    zero-shot classifier gives the prompt among them. z_0 + strength sqrt(1 - share) g / RMS(g), with share that of the
    signal in z_t and g each sample's own gradient, through the decoder. eps stays.

    Attributes:
        strength: RMS of the move in pure noise, in units of the latent.
        start: share of the signal in z_t, in [0, 1], from which on it pulls; before it the estimate is no picture yet.
        stop: share up to which it pulls; the end costs as much and moves little.
        labels: other texts of a zero-shot classifier; none for the cosine.
        temperature: of the classifier's softmax over cosines; CLIP's own logit scale of 100 is 0.01.
        open_clip: an open_clip model; None is the prior's own encoder. Never the judge's: nobody scores itself.
    """

    strength: float = 0.1
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
        if not self.temperature > 0:
            raise FieldError("temperature", self.temperature, "must be > 0")
        if any(not label for label in self.labels):
            raise FieldError("labels", self.labels, "must be texts, as ['a tomato', 'a ball']")

    def check(self, info: PriorInfo) -> None:
        """An encoder of images and texts is needed; a separate one is checked, not loaded."""
        if self.open_clip is not None:
            self.open_clip.width()
        elif info.feature_width is None:
            raise FieldError(
                "open_clip", None, "the prior has no encoder of images and texts; name an open_clip model "
                "(docs/stable_diffusion.md)"
            )  # fmt: skip

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

    def score(self, prior: Prior, x: Tensor, text: TextCondition) -> Tensor:
        """How well each picture shows what its prompt says: (B, 3, H, W) in [-1, 1] -> (B,), differentiable."""
        encoder = self._encoder(prior, x.device)
        prompts = [words["prompt"] for words in text.words]
        features = encoder.image_features(x)
        own = (features * encoder.text_features(prompts)).sum(1)
        if not self.labels:
            return own
        others = features @ encoder.text_features(self.labels).T  # (B, K)
        same = torch.tensor([[label == prompt for label in self.labels] for prompt in prompts], device=x.device)
        logits = torch.cat([own[:, None], others.masked_fill(same, -torch.inf)], dim=1) / self.temperature
        return logits.log_softmax(1)[:, 0]

    def _encoder(self, prior: Prior, device: torch.device) -> ImageText:
        if self.open_clip is not None:
            return _loaded(self.open_clip, device)
        assert prior.image_text is not None, "check() refuses a prior without an encoder"
        return prior.image_text


@lru_cache(maxsize=2)
def _loaded(files: OpenClipFiles, device: torch.device) -> ImageText:
    """The model of some files, once per process and device."""
    return files.load(device)
