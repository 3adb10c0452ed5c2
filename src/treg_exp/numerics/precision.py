"""Full float32 arithmetic inside operators, whatever the caller's precision policy is.

A proximal step subtracts nearly equal images and divides by small singular values: bfloat16 or TF32 products
would show in the result. Autocast and the reduced float32 products are switched off for the duration of a
call and restored after it. A backward pass runs later, under the caller's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Disables autocast on ``device`` and TF32/bfloat16 products of float32 tensors inside the block."""
    backends: Any = torch.backends
    with ExitStack() as stack:
        stack.enter_context(_products())
        stack.enter_context(_ieee(backends.cudnn.conv, backends.mkldnn.conv))
        stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


@contextmanager
def _products() -> Iterator[None]:
    """Full precision of matrix products, set through the one of torch's two interfaces that the caller used.

    torch keeps both ``set_float32_matmul_precision`` and ``fp32_precision`` (2.9 or newer), and refuses
    products on a GPU while the two disagree.
    """
    backends: Any = torch.backends
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # they disagree: the caller used the newer one
        with _ieee(backends.cuda.matmul, backends.mkldnn.matmul):
            yield
        return
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _ieee(*places: Any) -> Iterator[None]:
    """Sets ``fp32_precision`` of some parts of ``torch.backends`` for the duration of the block."""
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
