"""Runs work items through Lightning and stores what comes out."""

from treg_exp.engine.wandb_mirror import WandbMirror

__all__ = ["WandbMirror"]
