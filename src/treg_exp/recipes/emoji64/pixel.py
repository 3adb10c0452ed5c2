"""A denoiser of small pictures themselves, for the solvers whose papers work on signals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.families.stable_diffusion import PATCHES
from treg_exp.recipes.emoji64.corpus import Corpus, CorpusFolder
from treg_exp.recipes.emoji64.latents import LatentBank, picture_versions
from treg_exp.recipes.emoji64.networks import SIDE, build_pixel_denoiser
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.recipes.emoji64.unet import DenoiserObjective
from treg_exp.schedule.levels import Kind

SIDES = (16, 32, 64)  # pixels: the drawings have 64, which are averaged over whole blocks


class PixelObjective(DenoiserObjective):
    """As `DenoiserObjective`, on pictures in [-1, 1] instead of latents; there is no autoencoder.

    Args:
        corpus: where pictures and split are.
        stages: the trained text encoder, or the prior that has one.
        side: pixels of a picture, one of `SIDES`.
        patch: the network sees patches of this side as one place (patchify; Hoogeboom et al., 2301.11093), which costs
            the square of it less; one of `PATCHES`.
        widths: channels of the three levels, fine to coarse; multiples of 16.
        prompt_dropout: this and all below: see `DenoiserObjective`.
        prediction: likewise.
        snr_range: likewise.
        focus: likewise.
        weights: likewise.
        styled_share: likewise.
        versions: likewise.
        embed_beforehand: likewise.
        compile: likewise.

    Raises:
        FieldError: a value out of its range.
    """

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        side: int = 64,
        patch: int = 2,
        widths: Sequence[int] = (48, 64, 96),
        prompt_dropout: float = 0.1,
        prediction: Kind = "v_prediction",
        snr_range: Sequence[float] = (1.0, 5.0),
        focus: Sequence[float] = (0.6, 1.2),
        weights: str | None = None,
        styled_share: float | None = None,
        versions: int = 6,
        embed_beforehand: bool = False,
        compile: bool = False,
    ) -> None:
        if side not in SIDES:
            raise FieldError("side", side, f"allowed are {', '.join(map(str, SIDES))}")
        if patch not in PATCHES:
            raise FieldError("patch", patch, f"allowed are {', '.join(map(str, PATCHES))}")
        if any(width % 16 for width in widths):
            raise FieldError("widths", list(widths), "must be multiples of 16")
        self.side, self.patch = side, patch
        super().__init__(
            corpus, stages, widths, prompt_dropout, prediction, snr_range, focus, weights, styled_share, versions,
            embed_beforehand=embed_beforehand, compile=compile,
        )  # fmt: skip

    def build(self, widths: Sequence[int], text_width: int) -> UNet2DConditionModel:
        """See `CaptionedLatents`."""
        return build_pixel_denoiser(widths, text_width, self.side, self.patch)

    def begin(self, stages: TrainedStages) -> None:
        """Of a prior to start from only the text encoder is of use."""

    def bank(self, device: torch.device) -> LatentBank:
        """The pictures, without a posterior: half precision, 200 MB for 6 versions of 32 pixels, 800 MB for 64."""
        return pixel_bank(self.corpus, self.versions, self.side, self.patch, device)


@torch.no_grad()
def pixel_bank(corpus: Corpus, versions: int, side: int, patch: int, device: torch.device) -> LatentBank:
    """All versions of all pictures in [-1, 1], as the network takes them; what is drawn from it is a picture as it is.

    Args:
        corpus: of N pictures.
        versions: V, the plain one included.
        side: pixels; blocks of the drawings are averaged.
        patch: (V, N, 3 patch^2, side / patch, side / patch) is returned.
        device: where they will be.
    """
    parts: list[Tensor] = [
        F.pixel_unshuffle(F.avg_pool2d(images, SIDE // side), patch).half()
        for images in picture_versions(corpus, versions, device)
    ]
    pictures = torch.cat(parts).view(versions, len(corpus.pictures), *parts[0].shape[1:])
    return LatentBank(pictures, torch.zeros_like(pictures[:1, :1, :1, :1, :1]).expand_as(pictures), 1.0)
