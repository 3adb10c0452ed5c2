"""Guidance by several texts at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition
from treg_exp.text.guidance.base import answers, check_scale, mixed


@dataclass(frozen=True)
class ComposedGuidance:
    """Composable diffusion (Liu et al., 2206.01714, equation 11): each text adds what it changes against the null text.

    null + scale (prompt - null + sum_r weights[r] (text_r - null)), for z_0 and eps. A step asks the network once for
    every text and once for the null text, all in one call. Without weights it is ``ConstantGuidance``.

    Attributes:
        scale: of all texts together, see ``ConstantGuidance``; 0 is the null text alone.
        weights: role of a further text -> its weight beside the prompt, which counts 1. Below 0 pushes away from it;
            0 does not ask for it. None is no further text.
    """

    scale: float = 2.0
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)
        for role, weight in (self.weights or {}).items():
            key = f"weights.{role}"
            if role in ("prompt", "null"):
                raise FieldError(key, weight, "scale says how strongly the prompt counts against the null text")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise FieldError(key, weight, "must be a finite number; below 0 pushes away from the text")

    @property
    def roles(self) -> Mapping[str, str]:
        """Roles of the texts that it reads beside prompt and null text -> the field that asks for them."""
        return dict.fromkeys(self.weights or (), "weights")

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See ``Guidance``."""
        weights = {role: weight for role, weight in sorted((self.weights or {}).items()) if weight}
        if self.scale == 0 or (self.scale == 1 and not weights):
            return prior.predict(z_t, level, text.prompt if self.scale else text.null)
        further = [text.others[role] for role in weights]
        null, prompt, *others = answers(prior, z_t, level, [text.null, text.prompt, *further])
        z_0, eps = prompt.z_0, prompt.eps
        for weight, other in zip(weights.values(), others, strict=True):
            z_0, eps = z_0 + weight * (other.z_0 - null.z_0), eps + weight * (other.eps - null.eps)
        return Prediction(mixed(null.z_0, z_0, self.scale), mixed(null.eps, eps, self.scale))
