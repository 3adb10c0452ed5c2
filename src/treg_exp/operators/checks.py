"""Checks of arguments that several operators share; each error names the argument, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from torch import Tensor


def check_image_shape(signal_shape: Sequence[int]) -> tuple[int, int, int]:
    """``signal_shape`` as a tuple (3, H, W), or a ValueError that says what is wrong."""
    shape = tuple(int(n) for n in signal_shape)
    if len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
        raise ValueError(f"signal_shape={shape}: must be (3, H, W) with H, W >= 1")
    return shape


def is_count(value: object) -> bool:
    """Whether ``value`` is a whole number >= 1; 4.0 is one, True, nan and text are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 1 and float(value).is_integer()


def check_integer(name: str, value: object) -> None:
    """ValueError unless ``value`` is a whole number >= 1."""
    if not is_count(value):
        raise ValueError(f"{name}={value!r}: must be an integer >= 1")


def check_sample_ids(sample_ids: Sequence[str]) -> None:
    """ValueError unless there is a name for at least one sample; a bare string would be read as one per letter."""
    if isinstance(sample_ids, str) or not len(sample_ids):
        raise ValueError(f"sample_ids={sample_ids!r}: must be a list of names, one per sample and at least one")


def check_same_batch(y: Tensor, name: str, x: Tensor) -> None:
    """ValueError unless y and the images ``name`` have as many samples: a single one would be broadcast silently."""
    if len(y) != len(x):
        raise ValueError(f"y and {name}: {len(y)} and {len(x)} samples, but both must have the same number")
