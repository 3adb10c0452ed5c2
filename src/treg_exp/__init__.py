"""Experiments on inverse problems with diffusion priors, where text resolves what the measurement leaves open.

``treg_exp.api`` restores a signal in five lines, without any configuration.
"""
