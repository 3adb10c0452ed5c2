"""Which number format the networks compute in; everything outside them stays float32."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

import torch

from treg_exp.errors import FieldError
from treg_exp.numerics.precision import full_precision

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def check_precision(precision: str) -> Precision:
    """``precision`` itself, or a FieldError that names the allowed ones."""
    allowed = get_args(Precision)
    if not isinstance(precision, str) or precision not in allowed:
        raise FieldError("precision", precision, f"allowed are {', '.join(allowed)}")
    return precision  # type: ignore[return-value]


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast dtype, or None for plain float32.

    ``auto`` takes bf16 where it is faster than float32 (CUDA since Ampere, CPUs with AMX) and float32 elsewhere. With
    AVX512-BF16 alone it depends on the CPU which one that is: on an AMD EPYC (Zen 4) single convolutions and linear
    layers were 2.2 times as fast in bf16, but torch's group normalisation and the backward pass of fused attention
    slower, so a whole denoiser gains less; an earlier measurement over the layers of Stable Diffusion found 1.4 to 1.9
    times the time. Emulated, bf16 takes about ten times as long.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def number_format(precision: Precision, device: torch.device) -> str:
    """Name of what the denoiser computes in: ``float32``, ``bfloat16`` or ``float16``."""
    return str(autocast_dtype(precision, device) or torch.float32).removeprefix("torch.")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes faster in bf16 than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_amx_tile_supported())
    return False


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which the networks run: autocast, or float32 without the TF32 that cuDNN convolves in by default.

    A backward pass runs later, under the caller's settings.
    """
    dtype = autocast_dtype(precision, device)
    return full_precision(device) if dtype is None else torch.autocast(device.type, dtype=dtype)
