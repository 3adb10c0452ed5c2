"""Full float32 arithmetic inside operators, whatever the caller's precision policy is.

A proximal step subtracts nearly equal images and divides by small singular values: bfloat16 or TF32 products
would show in the result. Autocast and the reduced float32 products are switched off for the duration of a
call and restored after it. A backward pass runs later, under the caller's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def _products() -> tuple[Any, ...]:
    """The places where torch (2.9 or newer) keeps the float32 precision of products and convolutions."""
    backends: Any = torch.backends
    return (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Disables autocast on ``device`` and TF32/bfloat16 products of float32 tensors inside the block."""
    before = [(place, place.fp32_precision) for place in _products()]
    for place, _ in before:
        place.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, precision in before:
            place.fp32_precision = precision
