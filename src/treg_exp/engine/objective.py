"""What a search optimises: the mean of one column over the rows of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from treg_exp.run_layout import Row


@dataclass(frozen=True)
class Objective:
    """A number of a run.

    Attributes:
        variant: whose rows count.
        column: of the rows.
    """

    variant: str
    column: str

    @classmethod
    def named(cls, name: str) -> Objective:
        """From ``variant/column``."""
        return cls(*name.split("/", 1))

    @property
    def name(self) -> str:
        """``variant/column``, as W&B has it, too."""
        return f"{self.variant}/{self.column}"

    def values(self, rows: Iterable[Row]) -> list[float]:
        """The finite values of the column, one for each row that has one."""
        own = (row.get(self.column) for row in rows if row.get("variant") == self.variant)
        return [float(value) for value in own if isinstance(value, int | float) and math.isfinite(value)]

    def mean(self, rows: Iterable[Row]) -> float | None:
        """The mean over the rows; None where none has a value."""
        values = self.values(rows)
        return math.fsum(values) / len(values) if values else None
