"""Encoders of images and texts into one space."""
