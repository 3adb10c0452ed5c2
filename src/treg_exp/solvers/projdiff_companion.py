"""ProjDiff's noisy companion of a signal: how noisy it is for an operator, and which of them explain a measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_choices, check_integers
from treg_exp.numerics.precision import full_precision
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.masking import Masking
from treg_exp.operators.linear.tight import TightOperator
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.operators.nonlinear.phase import PhaseRetrieval
from treg_exp.operators.spectrum import spectrum_of
from treg_exp.tasks.problems import InverseProblem

OtherSide = Literal["moved", "kept"]


@dataclass(frozen=True)
class Companion:
    """The signal x_obs = sqrt(a) x_0 + sqrt(1 - a) e, for which sqrt(a) y = A(x_obs) holds exactly.

    Attributes:
        share: a, its alpha_bar = 1 / (1 + s_eq^2), broadcasts to (B, *signal_shape).
        turn: signals to the coordinates in which that is so.
        turn_back: the other way.
        project: coordinates of x_obs to the nearest that explain the measurement.
    """

    share: Tensor
    turn: Callable[[Tensor], Tensor]
    turn_back: Callable[[Tensor], Tensor]
    project: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Projection:
    """Projections of non-linear operators in closed form, with the official code's rules (2406.06959).

    Phase retrieval: the transform of x takes the measured magnitudes and keeps its phases, and what is outside of the
    picture is cut off, which brings x nearer to the set but not onto it. A noisy magnitude below 0 counts as 0 (our
    choice: nothing is nearer to it). High dynamic range: pixels that are not saturated are y / scale; saturated ones
    are pulled up to it where they are darker than what saturates, and stay where they are not.

    Attributes:
        times: how often the one of phase retrieval is applied in a row.
        saturated_from: |y| from which a pixel counts as saturated where y has noise, in (0, 1]; without noise it is 1.
            With noise 1 would take half of the saturated pixels, those whose noise is negative, for seen.
        other_side: what becomes of a saturated pixel whose x is as far on the other side of 0: ``moved`` to y's, or
            ``kept``.
    """

    times: int = 1
    saturated_from: float = 0.5
    other_side: OtherSide = "moved"

    def __post_init__(self) -> None:
        check_integers(self, 1, "times")
        check_choices(self, other_side=OtherSide)
        if not 0 < self.saturated_from <= 1:
            raise FieldError("saturated_from", self.saturated_from, "must be in (0, 1]")

    def onto(self, problem: InverseProblem, x: Tensor, share: float = 1.0) -> Tensor:
        """Companions (B, *signal_shape) of alpha_bar ``share`` moved to the measurement; 1: without noise."""
        operator, root = problem.operator, share**0.5
        with full_precision(x.device):
            if isinstance(operator, HighDynamicRange):
                return self._unsaturated(operator, problem.y, x, root)
            assert isinstance(operator, PhaseRetrieval), "has_projection() tells others"
            for _ in range(self.times):
                x = _with_magnitudes(operator, problem.y, x, root)
            return x

    def _unsaturated(self, operator: HighDynamicRange, y: Tensor, x: Tensor, root: float) -> Tensor:
        told, edge = root * y / operator.scale, root / operator.scale
        bright = x * y.sign() if self.other_side == "moved" else x.abs()
        unknown = (y.abs() >= (self.saturated_from if root < 1 else 1.0)) & (bright >= edge)
        return torch.where(unknown, x, told)


def _with_magnitudes(operator: PhaseRetrieval, y: Tensor, x: Tensor, root: float) -> Tensor:
    """One exchange of magnitudes. In [0, 1] units zero is root * -1, so that root * y belongs to root * x."""
    (height, width), (tall, wide) = x.shape[-2:], y.shape[-2:]
    zero, unit = (-root, 2.0) if operator.unit_range else (0.0, 1.0)
    top, left = (tall - height) // 2, (wide - width) // 2
    padded = F.pad((x - zero) / unit, (left, left, top, top))
    phases = torch.fft.fft2(padded, norm="ortho").sgn()
    magnitudes = torch.fft.ifftshift(root * y.clamp(min=0), dim=(-2, -1))
    found: Tensor = torch.fft.ifft2(magnitudes * phases, norm="ortho").real
    return unit * found[..., top : top + height, left : left + width] + zero


def has_projection(operator: Operator) -> bool:
    """Whether it is one of the non-linear operators that :class:`Projection` knows."""
    return isinstance(operator, PhaseRetrieval | HighDynamicRange)


def is_uniform(operator: Operator) -> bool:
    """Whether one level serves all of the signal."""
    return isinstance(operator, TightOperator | Masking) or has_projection(operator)


def equivalent_noise(operator: Operator, sigma: float) -> float:
    """s_eq: the deviation of noise in signals that is like that of y, in [-1, 1] units.

    sigma / ||A|| for linear operators and, where it is not saturated, for high dynamic range. Phase retrieval puts the
    noise of all frequencies into the pixels of the picture, which are fewer: times sqrt(frequencies / pixels), 1.5 with
    oversampling 2.
    """
    in_signal: float = sigma / operator.norm_sq**0.5
    if isinstance(operator, PhaseRetrieval):
        (height, width), (tall, wide) = operator.signal_shape[-2:], operator.measurement_shape[-2:]
        in_signal *= math.sqrt(tall * wide / (height * width))
    return in_signal


def uniform(problem: InverseProblem, projection: Projection) -> Companion:
    """One level for all of the signal."""
    operator = problem.operator
    share = 1 / (1 + equivalent_noise(operator, problem.sigma) ** 2)
    level = torch.tensor(share, device=problem.y.device)
    if has_projection(operator):
        return Companion(level, _same, _same, lambda x: projection.onto(problem, x, share))
    assert isinstance(operator, LinearOperator), "is_uniform() tells others"
    y = level.sqrt() * problem.y
    return Companion(level, _same, _same, lambda x: x + operator.pinv(operator.residual(y, x)))


def spectral(problem: InverseProblem) -> Companion:
    """One level for each singular direction of a linear operator."""
    spectrum = spectrum_of(problem.operator)
    s = spectrum.values
    share = torch.where(s > 0, 1 / (1 + (problem.sigma / torch.where(s > 0, s, 1.0)) ** 2), 1.0)
    told = share.sqrt() * spectrum.seen(problem.y)
    return Companion(share, spectrum.turn, spectrum.turn_back, lambda v: torch.where(s > 0, told, v))


def _same(x: Tensor) -> Tensor:
    return x
