"""What a recorded case says: its operator, solver, texts and tolerance all come from the JSON beside the arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from tests.test_config import composed
from treg_exp.noise import ReplayNoise
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import Masking
from treg_exp.solvers.treg import TReg
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

Settings = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]
TOLERANCE = 1e-4  # or three times what an independent replay differed by, where a case states that
STRIDE = 4  # of the pixels that the shortened cases keep

#: Pattern of an operator's description -> what makes it, from the match, the arrays and the shape of the image.
OPERATORS: dict[str, Callable[[re.Match[str], Arrays, tuple[int, ...]], Operator]] = {
    r"bicubic downsampling x(\d+)(?!.*reflection padding)": lambda m, arrays, shape: (  # LATINO's has another edge
        BicubicDownsampling(factor=int(m[1]), signal_shape=shape)
    ),
    r"average pooling over disjoint (\d+)x\1 blocks": lambda m, arrays, shape: AveragePooling(
        factor=int(m[1]), signal_shape=shape
    ),
    r"pixelwise multiplication by array mask": lambda m, arrays, shape: Masking(
        torch.from_numpy(arrays["mask"]).reshape(1, 1, *shape[1:])
    ),
    r"gaussian blur, sigma ([\d.]+), (\d+) taps, (zero|reflect|symmetric|circular) boundary": lambda m, arrays, shape: (
        GaussianBlur(sigma=float(m[1]), kernel_size=int(m[2]), signal_shape=shape, boundary=m[3])
    ),
}


def operator_of(settings: Settings, arrays: Arrays) -> Operator:
    """The operator: a description in words, or a mapping with `_target_` as in ``conf/task``."""
    expected, stride = expected_image(arrays)
    shape = (3, *(side * stride for side in expected.shape[-2:]))
    told = settings["operator"]
    if isinstance(told, Mapping):
        return instantiate(told, signal_shape=shape)
    for pattern, make in OPERATORS.items():
        if found := re.match(pattern, told, re.IGNORECASE):
            return make(found, arrays, shape)
    raise ValueError(f"operator {told!r}: not known; add its description to tests/parity/cases.py, or use _target_")


def solver_of(settings: Settings) -> TReg:
    """conf/solver/treg_compat.yaml with what the recording says."""
    released = instantiate(composed("solver=treg_compat").solver, _convert_="all")
    prox = replace(
        released.prox,
        iterations=settings.get("cg_iterations", released.prox.iterations),
        tolerance=settings.get("cg_tolerance", released.prox.tolerance),
    )
    off_window = "dps" if settings.get("off_gamma_dps") else "ddim"
    lam = settings.get("lam", released.lam)
    return replace(released, steps=settings["steps"], lam=lam, prox=prox, off_window=off_window)


def policy_of(settings: Settings) -> TextPolicy:
    """Guidance and null text."""
    null = settings.get("null_prompt", "")
    null_text = (
        AdaptiveNegation(null, lr=settings["null_lr"], iterations=settings["null_iterations"])
        if settings.get("adaptive_negation")
        else FixedNullText(null)
    )
    return TextPolicy(ConstantGuidance(settings["guidance"]), null_text)


def noise_of(arrays: Arrays, solver: TReg) -> ReplayNoise:
    """The recorded order: z_T, then on every data step the encoder's noise and the renoising noise."""
    records = {("start", 0, 0): arrays["z_T"]}
    data_steps = [k for k in range(solver.steps) if solver.data_steps.contains(k, solver.steps)]
    for position, k in enumerate(data_steps):
        records["encode", k, 0] = arrays["noise"][2 * position][None]
        records["renoise", k, 0] = arrays["noise"][2 * position + 1][None]
    assert len(arrays["noise"]) == 2 * len(data_steps)
    return ReplayNoise(records)


def expected_image(arrays: Arrays) -> tuple[np.ndarray, int]:
    """The recorded image in [0, 1], and the stride of its pixels."""
    return (arrays["image"], 1) if "image" in arrays else (arrays["image_every_4th_pixel"], STRIDE)


def tolerance_of(settings: Settings) -> float:
    """The largest difference that counts as equal."""
    return max(TOLERANCE, 3 * settings.get("independent_check_max_abs_diff", 0.0))
