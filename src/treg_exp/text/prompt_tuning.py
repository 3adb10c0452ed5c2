"""P2L's prompt: an embedding that is tuned until the estimate explains the measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.adamw import AdamW
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState


def p2l_adam() -> AdamW:
    """One Adam step of 1e-4 (the released ports, for Stable Diffusion 1.5)."""
    return AdamW(lr=1e-4, iterations=1, weight_decay=0.0)


@dataclass(frozen=True)
class PromptTuning:
    """Prompt-tuning of P2L (Chung, Ye, Milanfar and Delbracio, ICML 2024, 2310.01110), for any solver.

    Before a step that looks at the measurement, some Adam steps on the tokens C of the prompt lower
    1/2 ||y - A D(z_0(z_t, C))||^2 at this z_t, with the gradient through network and decoder. The step is predicted
    with the tuned C, and the next one begins with it. The optimiser starts afresh at every step.

    Attributes:
        adam: learning rate in units of the embedding, iterations per step, and so on.
    """

    adam: AdamW = field(default_factory=p2l_adam)

    def check(self, info: PriorInfo) -> None:
        """There must be an embedding to tune."""
        if info.text_layout is None:
            raise FieldError("adam", "AdamW", "the prior has no text encoder; only the empty text works")

    def prepare(
        self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, misfit: Callable[[Tensor], Tensor]
    ) -> TextCondition:
        """See ``TextPolicy.prepare``."""

        def loss(tokens: Tensor) -> Tensor:
            at = prior.predict(z_t.detach(), level, text.prompt.with_tokens(tokens))
            return misfit(prior.decode(at.z_0))

        tuned = self.adam.minimise(loss, text.prompt.tokens)
        return text.with_prompt(text.prompt.with_tokens(tuned))

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """Nothing: the prompt has moved before the step."""
        return text
