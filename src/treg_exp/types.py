"""The values that travel between data, operators, priors, text and solvers.

Legend of shapes: B batch, C channels (3 for images), H W image, h w latent, L tokens, D text width.
Images and measurements are float tensors; images are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from treg_exp.operators.base import Operator
    from treg_exp.priors.base import Prior
    from treg_exp.schedule import Step


@dataclass(frozen=True)
class Sample:
    """One image of a data set, before anything was measured.

    Attributes:
        sample_id: unique name; becomes a folder name and a key of the random streams.
        target: (3, H, W) in [-1, 1], or None where only a measurement exists.
        measurement: a real measurement y in the units of the task's operator, or None: then y is made from the target.
        captions: texts by role; ``caption`` says what the image is, ``counterfactual`` what it could be as well.
    """

    sample_id: str
    target: Tensor | None = None
    measurement: Tensor | None = None
    captions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TextCondition:
    """What the text says to the network at one step, for every sample of a batch.

    Attributes:
        prompt: (B, L, D) embedding of the prompt.
        null: (B, L, D) embedding of the null text; adaptive negation moves it.
    """

    prompt: Tensor
    null: Tensor

    def with_null(self, null: Tensor) -> TextCondition:
        """The same prompt against another null text, (B, L, D)."""
        return replace(self, null=null)


@dataclass(frozen=True)
class Measurement:
    """A batch of measurements y = A(x) + n.

    Attributes:
        y: (B, ...) in the units of the operator's output.
        operator: the frozen forward operator that made y.
        sigma: standard deviation of n, in the units of y (images in [-1, 1]).
        lam: weight of the proximal term, matched to sigma and to the operator's norm (see ``operators/task.py``).
    """

    y: Tensor
    operator: Operator
    sigma: float
    lam: float


@dataclass(frozen=True)
class Problem:
    """What a solver is given: a measurement and a text.

    Attributes:
        measurement: y, the operator, the noise level and lambda.
        text: embedded prompt and null text.
    """

    measurement: Measurement
    text: TextCondition

    @property
    def y(self) -> Tensor:
        """(B, ...) measurement."""
        return self.measurement.y

    @property
    def operator(self) -> Operator:
        """Forward operator of the batch."""
        return self.measurement.operator

    @property
    def batch_size(self) -> int:
        """Number of work items B."""
        return int(self.y.shape[0])

    def latent_like(self, prior: Prior) -> Tensor:
        """An empty (B, c, h, w) tensor of the prior's latent shape: only its shape, device and dtype matter."""
        return prior.empty_latent(self.batch_size, self.operator.image_shape)


@dataclass(frozen=True)
class StepInfo:
    """What a solver reports after each step (progress bars read it).

    Attributes:
        step: the schedule step that was taken.
        total: number of steps of this restoration.
        z_0: (B, c, h, w) Tweedie estimate, or None for solvers without a latent.
        z_next: (B, c, h, w) latent that the next step begins with, likewise.
    """

    step: Step
    total: int
    z_0: Tensor | None = None
    z_next: Tensor | None = None


@dataclass(frozen=True)
class Restoration:
    """A batch of restored images.

    Attributes:
        image: (B, 3, H, W) in [-1, 1] units; not clamped.
    """

    image: Tensor
