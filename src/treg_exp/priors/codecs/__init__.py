"""Codecs: between signals and the space that a denoiser works in."""
