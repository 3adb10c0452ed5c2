"""One number per sample of a batch."""

from __future__ import annotations

from torch import Tensor


def beside(values: Tensor, x: Tensor) -> Tensor:
    """(B,) or (B, 1, ...) -> (B, 1, ..., 1), ready to multiply a batch ``x`` (B, ...)."""
    return values.view(-1, *(1,) * (x.dim() - 1))


def rms(x: Tensor) -> Tensor:
    """Root mean square of every sample, (B, ...) -> (B,)."""
    return x.flatten(1).square().mean(1).sqrt()
