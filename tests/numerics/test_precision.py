"""The precision policy of the caller stays outside, and is restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from treg_exp.numerics.precision import full_precision

BACKENDS: Any = torch.backends
PLACES = (BACKENDS.cuda.matmul, BACKENDS.mkldnn.matmul, BACKENDS.cudnn.conv, BACKENDS.mkldnn.conv)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _default_precision() -> Iterator[None]:
    yield
    for place in PLACES[:2]:
        place.fp32_precision = "ieee"
    torch.set_float32_matmul_precision("highest")


def settings() -> list[str]:
    return [place.fp32_precision for place in PLACES]


def reduced() -> bool:
    """Whether a product may be reduced; raises, as a product on a GPU does, where torch's settings disagree."""
    return BACKENDS.cuda.matmul.allow_tf32 or torch.get_float32_matmul_precision() != "highest"


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_by_the_older_interface(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    before = settings()
    with full_precision(CPU):
        assert not reduced()
        assert settings()[2] == "ieee"
    assert torch.get_float32_matmul_precision() == precision
    assert settings() == before


def test_products_by_the_newer_interface() -> None:
    BACKENDS.cuda.matmul.fp32_precision = "tf32"
    before = settings()
    with full_precision(CPU):
        assert not reduced()
    assert settings() == before


def test_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with full_precision(CPU):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")


def test_everything_is_restored_after_an_error() -> None:
    torch.set_float32_matmul_precision("high")
    before = settings()
    with pytest.raises(RuntimeError, match="stopped"), full_precision(CPU):
        raise RuntimeError("stopped")
    assert settings() == before
    assert torch.get_float32_matmul_precision() == "high"
