"""Latent diffusion priors behind one protocol."""

from treg_exp.priors.base import Counted, ImageTextEncoder, Prior, TextLayout
from treg_exp.priors.folder import prior_path
from treg_exp.priors.info import PriorInfo, read_prior_info
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.loading import load_prior
from treg_exp.priors.open_clip import OpenClipFiles

__all__ = [
    "Counted",
    "ImageTextEncoder",
    "LatentDiffusion",
    "OpenClipFiles",
    "Prior",
    "PriorInfo",
    "TextLayout",
    "load_prior",
    "prior_path",
    "read_prior_info",
]
