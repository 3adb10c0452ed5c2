"""Experiments on inverse problems with latent diffusion priors, where text resolves what the measurement leaves open.

Restore an image in five lines, without any configuration::

    from treg_exp import BicubicDownsampling, load_image, load_prior, measure, restore, save_image

    prior = load_prior("emoji64")
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    measurement = measure(operator, load_image("apple.png", 64), sigma=0.01)
    save_image(restore(measurement, prior, "a red apple"), "restored.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treg_exp.api import load_image, measure, restore, save_image
    from treg_exp.operators.linear.bicubic import BicubicDownsampling
    from treg_exp.operators.linear.blur import GaussianBlur
    from treg_exp.operators.linear.masking import BoxInpainting, Identity
    from treg_exp.operators.methods import CG, Exact
    from treg_exp.priors.loading import load_prior
    from treg_exp.solvers.treg import DataSteps, TReg
    from treg_exp.solvers.unconditional import Unconditional
    from treg_exp.text.guidance import ConstantGuidance
    from treg_exp.text.null_text import AdaptiveNegation, FixedNullText

_PLACES = {
    "treg_exp.api": ("load_image", "measure", "restore", "save_image"),
    "treg_exp.operators": ("CG", "BicubicDownsampling", "BoxInpainting", "Exact", "GaussianBlur", "Identity"),
    "treg_exp.priors": ("load_prior",),
    "treg_exp.solvers": ("DataSteps", "TReg", "Unconditional"),
    "treg_exp.text": ("AdaptiveNegation", "ConstantGuidance", "FixedNullText"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "CG",
    "AdaptiveNegation",
    "BicubicDownsampling",
    "BoxInpainting",
    "ConstantGuidance",
    "DataSteps",
    "Exact",
    "FixedNullText",
    "GaussianBlur",
    "Identity",
    "TReg",
    "Unconditional",
    "load_image",
    "load_prior",
    "measure",
    "restore",
    "save_image",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``python run.py --help`` must not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'treg_exp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
