"""A small random prior: the model of the reference vectors and its stand-in for CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import PairedTowers, Prior
from treg_exp.schedule.levels import Level
from treg_exp.text.state import StepState


class LinearFeatures:
    """x averaged to 8x8, flattened in C, H, W order, times a fixed matrix, L2-normalised."""

    def __init__(self, matrix: np.ndarray):
        self.matrix = torch.from_numpy(matrix)
        self.width = matrix.shape[1]

    def image_features(self, x: Tensor) -> Tensor:
        return F.normalize(F.adaptive_avg_pool2d(x, 8).flatten(1) @ self.matrix, dim=-1)

    def project(self, tokens: Tensor) -> Tensor:
        return tokens

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        rows = [torch.randn(self.width, generator=torch.Generator().manual_seed(len(p))) for p in prompts]
        return F.normalize(torch.stack(rows), dim=-1)


def with_image_text(prior: Prior, image_text: PairedTowers) -> Prior:
    """The prior with another image-text encoder, and an info that says so."""
    info = replace(prior.info, feature_width=image_text.width)
    return replace(prior, info=info, image_text=image_text)


def tiny_prior(folder: Path) -> Prior:
    """The model of a folder of reference vectors, in float32."""
    prior = DiffusersFolder(path=str(folder / "tiny_model"), precision="fp32").load()
    return with_image_text(prior, LinearFeatures(np.load(folder / "image_feature_matrix.npy")))


LEVEL = Level(500, 0.3**0.5, 0.7**0.5)


def step_state(x_y: Tensor, level: Level | None = None, **known: Any) -> StepState:
    """A step of which a rule asks the data-consistent signal and its level alone, and what else a test knows."""
    nothing = dict.fromkeys(field.name for field in fields(StepState))
    return StepState(**{**nothing, "level": level or LEVEL, "x_y": x_y, **known})
