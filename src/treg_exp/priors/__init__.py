"""Latent diffusion priors behind one protocol."""

from treg_exp.priors.base import Counted, ImageTextEncoder, Prior
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.loading import PriorInfo, load_prior, prior_path, read_prior_info
from treg_exp.priors.open_clip import OpenClipFiles

__all__ = [
    "Counted",
    "ImageTextEncoder",
    "LatentDiffusion",
    "OpenClipFiles",
    "Prior",
    "PriorInfo",
    "load_prior",
    "prior_path",
    "read_prior_info",
]
