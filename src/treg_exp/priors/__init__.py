"""Latent diffusion priors behind one protocol."""
