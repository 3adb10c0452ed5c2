"""Experiments on inverse problems with latent diffusion priors, where text resolves what the measurement leaves open."""
