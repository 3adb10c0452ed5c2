"""Latent diffusion priors behind one protocol."""

from treg_exp.priors.base import Counted, ImageTextEncoder, Prior
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.loading import load_prior, prior_path

__all__ = ["Counted", "ImageTextEncoder", "LatentDiffusion", "Prior", "load_prior", "prior_path"]
