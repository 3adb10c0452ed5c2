"""How well a picture shows what its prompt says, by an encoder of images and texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import ImageText, Prior
from treg_exp.text.condition import TextCondition


@dataclass(frozen=True)
class ImageTextScore:
    """The cosine between picture and prompt or, with labels, what a zero-shot classifier says of the prompt.

    With ``labels`` it is the logarithm of the probability of the prompt among prompt and labels.

    Attributes:
        labels: other texts of a zero-shot classifier; none for the cosine.
        temperature: of the classifier's softmax over cosines; CLIP's own logit scale of 100 is 0.01.
        open_clip: an open_clip model; None is the prior's own encoder. Never the judge's: nobody scores itself.
    """

    labels: list[str] = field(default_factory=list)
    temperature: float = 0.01
    open_clip: OpenClipFiles | None = None

    def __post_init__(self) -> None:
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

    def __call__(self, prior: Prior, x: Tensor, text: TextCondition) -> Tensor:
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
