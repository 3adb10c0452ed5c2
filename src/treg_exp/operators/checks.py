"""Checks of arguments that several operators share; each error names the argument, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.per_sample import beside


def check_signal_shape(signal_shape: Sequence[int]) -> tuple[int, ...]:
    """``signal_shape`` as a tuple, or a FieldError unless it has axes, all of length >= 1."""
    shape = tuple(int(n) for n in signal_shape)
    if not shape or min(shape) < 1:
        raise FieldError("signal_shape", shape, "must have axes of length >= 1")
    return shape


def check_image_shape(signal_shape: Sequence[int]) -> tuple[int, int, int]:
    """``signal_shape`` as a tuple (3, H, W), or a FieldError that says what is wrong."""
    shape = tuple(int(n) for n in signal_shape)
    if len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
        raise FieldError("signal_shape", shape, "must be (3, H, W) with H, W >= 1")
    return shape


def check_audio_shape(signal_shape: Sequence[int]) -> tuple[int, int]:
    """``signal_shape`` as a tuple (C, T), or a FieldError that says what is wrong."""
    shape = tuple(int(n) for n in signal_shape)
    if len(shape) != 2 or min(shape) < 1:
        raise FieldError("signal_shape", shape, "must be (C, T): C channels of T samples, both >= 1")
    return shape


def check_ridge(lam: float | Tensor, x0: Tensor) -> float | Tensor:
    """A weight of a proximal step: a number, or one per sample as (B, 1, ..., 1), ready to multiply signals ``x0``."""
    if not isinstance(lam, Tensor):
        if not lam >= 0:
            raise FieldError("lam", lam, "must be >= 0")
        return lam
    if lam.numel() != len(x0):
        raise FieldError("lam", tuple(lam.shape), f"must be one number, or one for each of the {len(x0)} samples")
    if not bool((lam >= 0).all()):
        raise FieldError("lam", lam.flatten().tolist(), "must be >= 0")
    return beside(lam.to(x0), x0)


def is_count(value: object) -> bool:
    """Whether ``value`` is a whole number >= 1; 4.0 is one, True, nan and text are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 1 and float(value).is_integer()


def check_integer(name: str, value: object, most: int | None = None) -> None:
    """FieldError unless ``value`` is a whole number >= 1, and at most what memory and time allow."""
    if not is_count(value):
        raise FieldError(name, value, "must be an integer >= 1")
    if most is not None and float(str(value)) > most:
        raise FieldError(name, value, f"must be at most {most}")


def check_factor(factor: int, height: int, width: int) -> int:
    """``factor``, or a FieldError unless it is an integer >= 1 that divides both sides of the image."""
    check_integer("factor", factor)
    if height % factor or width % factor:
        raise FieldError("factor", factor, f"must divide both sides of the image, which is {height}x{width}")
    return int(factor)


def check_kernel_size(kernel_size: int, height: int, width: int) -> None:
    """FieldError unless ``kernel_size`` is odd and at most both sides of the image."""
    if not is_count(kernel_size) or kernel_size % 2 == 0:
        raise FieldError("kernel_size", kernel_size, "must be an odd integer >= 1")
    if kernel_size > min(height, width):
        raise FieldError("kernel_size", kernel_size, f"is larger than the {height}x{width} image")


def check_rcond(rcond: float) -> None:
    """FieldError unless ``rcond`` is a relative cut-off."""
    if not 0 < rcond < 1:
        raise FieldError("rcond", rcond, "must be in (0, 1)")


def check_sample_ids(sample_ids: Sequence[str]) -> None:
    """FieldError unless there is a name for at least one sample; a bare string would be read as one per letter."""
    if isinstance(sample_ids, str) or not len(sample_ids):
        raise FieldError("sample_ids", sample_ids, "must be a list of names, one per sample and at least one")


def check_same_batch(y: Tensor, name: str, x: Tensor) -> None:
    """FieldError unless y and the signals ``name`` have as many samples: a single one would be broadcast silently."""
    if len(y) != len(x):
        raise FieldError(name, tuple(x.shape), f"{len(x)} samples, but y has {len(y)}; both must have the same number")
