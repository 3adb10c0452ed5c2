"""Kinds of folders in diffusers layout: what each holds, says before loading, and how it is loaded."""
