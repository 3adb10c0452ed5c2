"""Non-linear responses of a camera, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.checks import check_image_shape


class GammaCorrection(Operator):
    """y = 2 u^gamma - 1 with u = (x + 1) / 2 clamped to [floor, 1].

    Attributes:
        gamma: exponent in [0, 1] intensities, > 0; above 1 darkens the middle tones.
        floor: least intensity, which bounds the slope for gamma < 1; no gradient there and below, nor at 1 and
            above.
    """

    def __init__(self, gamma: float, signal_shape: Sequence[int], floor: float = 1e-3) -> None:
        """Takes the fields and the image shape (3, H, W)."""
        if not 0 < gamma < float("inf"):
            raise FieldError("gamma", gamma, "must be > 0")
        if not 0 <= floor < 1 or (floor == 0 and gamma < 1):
            raise FieldError("floor", floor, "must be in [0, 1), and > 0 for gamma < 1, whose slope at 0 is infinite")
        super().__init__(signal_shape, check_image_shape(signal_shape))
        self.gamma, self.floor = float(gamma), float(floor)

    def _A(self, x: Tensor) -> Tensor:
        y: Tensor = 2 * ((x + 1) / 2).clamp(self.floor, 1) ** self.gamma - 1
        return y

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._A(x), lambda v: self._slope(x).mul_(v)

    def _slope(self, x: Tensor) -> Tensor:
        u = (x + 1) / 2
        outside = (u <= self.floor) | (u >= 1)
        return u.clamp_(self.floor, 1).pow_(self.gamma - 1).mul_(self.gamma).masked_fill_(outside, 0)


class HighDynamicRange(Operator):
    """y = clip(scale x, -1, 1): over- and underexposed pixels are lost (the HDR task of DAPS and ProjDiff).

    Attributes:
        scale: gain in [-1, 1] units, > 0. The gradient is that of the gain alone: where the image is saturated and y is
            not, it leads back, and where both are, the residual is zero.
    """

    def __init__(self, scale: float, signal_shape: Sequence[int]) -> None:
        """Takes the gain and the image shape (3, H, W)."""
        if not 0 < scale < float("inf"):
            raise FieldError("scale", scale, "must be > 0")
        super().__init__(signal_shape, check_image_shape(signal_shape))
        self.scale = float(scale)

    @property
    def norm_sq(self) -> float:
        """scale^2, the squared slope of pixels that are not saturated."""
        return self.scale**2

    def _A(self, x: Tensor) -> Tensor:
        amplified = self.scale * x
        return amplified + (amplified.clamp(-1, 1) - amplified).detach()

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return (self.scale * x).clamp_(-1, 1), lambda v: self.scale * v
