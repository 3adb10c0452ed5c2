"""CFG++: guidance of the estimate alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition
from treg_exp.text.guidance.base import both_answers, mixed


@dataclass(frozen=True)
class CFGPlusPlus:
    """The estimate is guided, the noise is that of the null text (Chung et al., 2406.08070, algorithm 2).

    Attributes:
        scale: of the estimate. The paper interpolates, with scales up to 1, on Stable Diffusion; more extrapolates.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise FieldError("scale", self.scale, "must be >= 0 (0 = null text only, 1 = the prompt's estimate)")

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See ``Guidance``."""
        if self.scale == 0:
            return prior.predict(z_t, level, text.null)
        null, prompt = both_answers(prior, z_t, level, text)
        return Prediction(mixed(null.z_0, prompt.z_0, self.scale), null.eps)
