"""Which number format the networks compute in; everything outside them stays float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def check_precision(precision: str) -> Precision:
    """``precision`` itself, or a ValueError that names the allowed ones."""
    allowed = get_args(Precision)
    if precision not in allowed:
        raise ValueError(f"precision={precision}: allowed are {', '.join(allowed)}")
    return precision  # type: ignore[return-value]


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast dtype, or None for plain float32.

    ``auto`` takes bf16 where it is faster than float32 (CUDA since Ampere, CPUs with AMX) and float32 elsewhere. On a
    CPU with AVX512-BF16 alone, bf16 takes 1.4 to 1.9 times as long, measured over the convolutions and linear layers
    of Stable Diffusion; emulated, about ten times as long.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes faster in bf16 than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_amx_tile_supported())
    return False


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which the networks run."""
    dtype = autocast_dtype(precision, device)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
