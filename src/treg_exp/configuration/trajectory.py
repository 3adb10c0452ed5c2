"""Which restorations of a run are recorded step by step."""

from __future__ import annotations

from dataclasses import dataclass

from treg_exp.errors import FieldError


@dataclass(frozen=True)
class TrajectorySettings:
    """Values of ``trajectory``: which restorations are recorded step by step. They change no result.

    Attributes:
        samples: of so many images, the first ones, draw 0 of every variant; 0 for none.
        points: steps that are recorded, at most; spread evenly from the first to the last.
    """

    samples: int = 2
    points: int = 25

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise FieldError("samples", self.samples, "must be >= 0; 0: none")
        if self.points < 1:
            raise FieldError("points", self.points, "must be >= 1; trajectory.samples=0 records nothing")
