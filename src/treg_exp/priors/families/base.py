"""What a kind of folder has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.precision import Precision
from treg_exp.priors.prior import Prior
from treg_exp.schedule.variance_preserving import Spacing


@dataclass(frozen=True)
class Options:
    """How a folder is read and loaded; see ``DiffusersFolder`` for the fields."""

    precision: Precision = "auto"
    image_encoder: bool | str = True
    open_clip: OpenClipFiles | None = None
    timestep_spacing: Spacing | None = None
    embedded_guidance: float | None = None
    t5_tokens: int | None = None
    vae_slicing: bool = False
    vae_tiling: bool = False
    gradient_checkpointing: bool = False


class Family(Protocol):
    """One kind of folder in diffusers layout; a module of this package is one.

    Attributes:
        DENOISER: folder and class of the denoiser, by which the kind is told.
        USES_IMAGE_ENCODER: whether an ``image_encoder/`` is the image tower of its text encoder.
    """

    DENOISER: tuple[str, str]
    USES_IMAGE_ENCODER: bool

    def networks(self, folder: Path) -> Mapping[str, str]:
        """Part -> its class, such as ``diffusers.AutoencoderKL``, for every network that must be there."""
        ...

    def tokenizers(self, folder: Path) -> Mapping[str, str]:
        """Part -> class of transformers, for every tokenizer that must be there.

        The encoder of ``tokenizer_2`` is ``text_encoder_2``.
        """
        ...

    def read_info(self, folder: Path, options: Options) -> PriorInfo:
        """What the configuration files say.

        Raises:
            FieldError: parts that do not fit together or are not supported.
        """
        ...

    def load(self, folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
        """The prior with its weights; ``info`` is what `read_info` said."""
        ...
