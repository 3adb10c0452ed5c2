"""The directions that a linear operator sees, each with its singular value; for more operators than ``spectrum.py``.

A method that treats a direction by its singular value alone needs no basis with as many coordinates as a signal has
numbers. Any orthogonal split of signals does in which A^T A multiplies each part by a number: for an operator whose
singular values are all alike, what it sees and what it does not see. Coordinates may be complex (Fourier modes). Noise
is therefore drawn as a signal and then turned, never in these coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.kernel_blur import KernelBlur
from treg_exp.operators.linear.mri import FourierLines
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.linear.tight import TightOperator
from treg_exp.operators.spectrum import Spectrum, has_spectrum, spectrum_of


def has_singular_parts(operator: Operator) -> bool:
    """Whether ``singular_parts`` knows it."""
    circular = isinstance(operator, KernelBlur) and operator.boundary == "circular"
    return circular or isinstance(operator, TightOperator | FourierLines | Nothing) or has_spectrum(operator)


def check_singular_parts(operator: Operator, method: str, instead: str) -> None:
    """Refuse an operator whose singular values are not known.

    Args:
        operator: any.
        method: that needs them, for the message.
        instead: what to do about it.

    Raises:
        FieldError: they are not known.
    """
    if has_singular_parts(operator):
        return
    of = f" with boundary {operator.boundary}" if isinstance(operator, KernelBlur) else ""
    raise FieldError(
        "operator", type(operator).__name__, f"{method} treats every singular direction by itself, and the singular "
        f"value decomposition of this operator{of} is not known (it is of masks, averages, colour weights, subsampled "
        f"transforms, separable blurs and circular ones); {instead}"
    )  # fmt: skip


def singular_parts(operator: Operator) -> Spectrum:
    """Values, coordinates and the way back; ``seen`` gives the coordinates of pinv(y), S^+ U^T y = V^T A^+ y.

    Raises:
        FieldError: the singular values of this operator are not known.
    """
    if isinstance(operator, KernelBlur) and operator.boundary == "circular":
        return _of_circular_blur(operator)
    if isinstance(operator, TightOperator | Nothing):
        return _of_two_values(operator)
    if isinstance(operator, FourierLines):
        return _of_fourier_lines(operator)
    return spectrum_of(operator)


def _of_two_values(operator: TightOperator | Nothing) -> Spectrum:
    """Coordinates (B, 2, *signal_shape): what is seen, and the rest."""
    value = operator.norm_sq**0.5
    shape = (1, 2, *(1 for _ in operator.signal_shape))

    def turn(x: Tensor) -> Tensor:
        inside = operator.pinv(operator.A(x))
        return torch.stack([inside, x - inside], 1)

    def seen(y: Tensor) -> Tensor:
        inside = operator.pinv(y)
        return torch.stack([inside, torch.zeros_like(inside)], 1)

    values = torch.tensor([value, 0.0], device=operator.measured().device).view(shape)
    return Spectrum(values, turn, lambda v: v.sum(1), seen)


def _of_circular_blur(operator: KernelBlur) -> Spectrum:
    values = operator._spectrum.abs()
    least = operator.rcond * values.amax((-2, -1), keepdim=True)
    return _of_fourier(operator, torch.where(values > least, values, 0.0))


def _of_fourier_lines(operator: FourierLines) -> Spectrum:
    """A measured line tells its mirror line: A^T A has the weights (mask(k) + mask(-k)) / 2."""
    mirrored = operator.mask.flip(-1).roll(1, -1)
    weights = (operator.mask + mirrored) / 2
    return _of_fourier(operator, weights[..., : operator.signal_shape[-1] // 2 + 1].sqrt())


def _of_fourier(operator: LinearOperator, values: Tensor) -> Spectrum:
    """Fourier modes of every channel; ``values`` broadcasts to (B, 3, H, W // 2 + 1)."""
    sides = operator.signal_shape[-2:]

    def turn(x: Tensor) -> Tensor:
        modes: Tensor = torch.fft.rfft2(x, norm="ortho")
        return modes

    def turn_back(v: Tensor) -> Tensor:
        x: Tensor = torch.fft.irfft2(v, s=sides, norm="ortho")
        return x

    return Spectrum(values, turn, turn_back, lambda y: turn(operator.pinv(y)))
