"""Latent diffusion priors behind one protocol."""

from treg_exp.priors.base import Counted, ImageTextEncoder, Prior
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.loading import PriorInfo, load_prior, prior_path, read_prior_info

__all__ = [
    "Counted",
    "ImageTextEncoder",
    "LatentDiffusion",
    "Prior",
    "PriorInfo",
    "load_prior",
    "prior_path",
    "read_prior_info",
]
