"""Image and text features from the CLIP towers that lie in a prior's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.numerics.precision import full_precision
from treg_exp.priors.checked_json import Section
from treg_exp.priors.image_text.preprocessing import Preprocessing
from treg_exp.priors.texts.clip import token_ids

#: Class of transformers -> where its output and its configuration hold the feature and the feature's width.
IMAGE_TOWERS = {
    "CLIPVisionModelWithProjection": ("image_embeds", "projection_dim"),
    "ConvNextModel": ("pooler_output", "hidden_sizes"),
}


def tower_fields(architecture: str) -> tuple[str, str]:
    """What `IMAGE_TOWERS` says of a class.

    Args:
        architecture: its name.

    Raises:
        FieldError: another architecture.
    """
    if architecture not in IMAGE_TOWERS:
        raise FieldError("image_encoder/config.json", architecture, f"allowed are {', '.join(IMAGE_TOWERS)}")
    return IMAGE_TOWERS[architecture]


def feature_width(architecture: str, config: Section) -> int:
    """How many numbers an image feature has.

    Args:
        architecture: one of `IMAGE_TOWERS`.
        config: of the image tower.

    Raises:
        FieldError: another architecture.
        FileError: the configuration names no width.
    """
    key = tower_fields(architecture)[1]
    return config.wholes(key)[-1] if isinstance(config[key], list) else config.whole(key)


class FolderClip:
    """``image_encoder/`` (one of `IMAGE_TOWERS`) beside the text encoder of the same training.

    The text feature is the encoder's pooled output itself (text projection = identity): of the tokens that the denoiser
    attends to, the last one lies in the space of the image features.
    """

    def __init__(
        self,
        image_encoder: Any,
        text_encoder: Any,
        tokenizer: Any,
        mean: Sequence[float],
        std: Sequence[float],
    ):
        self.image_encoder = image_encoder.eval().requires_grad_(False)
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        side: int = image_encoder.config.image_size
        name = type(image_encoder).__name__
        self.output = tower_fields(name)[0]
        width = getattr(image_encoder.config, tower_fields(name)[1])
        self.width: int = width[-1] if isinstance(width, (list, tuple)) else width
        self.preprocess = Preprocessing((side, side), mean, std)

    def to(self, device: torch.device) -> FolderClip:
        """Move the image tower; the text tower is the prior's text encoder, and lives where that does."""
        self.image_encoder.to(device)
        self.preprocess.to(device)
        return self

    def image_features(self, x: Tensor) -> Tensor:
        """See ``ImageText``."""
        with full_precision(x.device):
            features: Tensor = getattr(self.image_encoder(pixel_values=self.preprocess(x)), self.output)
        return F.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """See ``ImageText``."""
        ids = token_ids(self.tokenizer, prompts, self.text_encoder.device)
        return F.normalize(self.text_encoder(ids).pooler_output.float(), dim=-1)

    def project(self, tokens: Tensor) -> Tensor:
        """See ``PairedTowers``: the identity here."""
        return tokens
