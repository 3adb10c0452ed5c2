"""Negation by the angle between null text and image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.priors.prior import PairedTowers
from treg_exp.text.null_text.bounded import in_ball
from treg_exp.text.null_text.image_space import ImageSpaceNegation
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class CosineNegation(ImageSpaceNegation):
    """Lowers cos(f, P c_j) of every token instead of <f, c_j>, by steps of a stated length.

    P is the projection of the text tower into the space of the image features, which the released rule leaves out. Its
    sign of the gradient moves every column by the same amount, however little of the image's feature lies in it; here
    a token moves along the gradient itself.

    Attributes:
        text: the null text at the start.
        step: length of a move per data step, as a fraction of the token's norm at the start.
        radius: largest distance of a token from where it began, as a fraction of its norm there.
    """

    text: str = ""
    step: float = 0.02
    radius: float = 0.3

    def __post_init__(self) -> None:
        if not self.step >= 0:
            raise FieldError("step", self.step, "must be >= 0")
        if not self.radius > 0:
            raise FieldError("radius", self.radius, "must be > 0")

    def moved(self, encoder: PairedTowers, tokens: Tensor, feature: Tensor, first: Tensor, state: StepState) -> Tensor:
        """See :class:`ImageSpaceNegation`."""
        with torch.enable_grad():
            free = tokens.detach().requires_grad_()
            cosines = (F.normalize(encoder.project(free), dim=-1) * feature).sum(-1)
            (gradient,) = torch.autograd.grad(cosines.sum(), free)
        length = self.step * first.norm(dim=-1, keepdim=True)
        return in_ball(tokens - length * F.normalize(gradient, dim=-1), first, self.radius)
