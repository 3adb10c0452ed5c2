"""One element of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One signal of a data set, before anything was measured.

    Attributes:
        sample_id: unique name; becomes a folder name and a key of the random streams.
        target: the signal in [-1, 1], such as (3, H, W), or None where only a measurement exists.
        measurement: a real measurement y in the units of the task's operator, or None: then y is made from the target.
        captions: texts by role; ``caption`` says what the signal is, ``counterfactual`` what it could be as well.
    """

    sample_id: str
    target: Tensor | None = None
    measurement: Tensor | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
