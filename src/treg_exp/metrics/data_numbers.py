"""Numbers that the data bring along for each sample, as columns: whoever reads a run folder needs no data set."""

from __future__ import annotations

from collections.abc import Sequence

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column


class DataNumbers(Metric):
    """Texts of the data that are numbers; None for samples without one, or whose text is no number.

    Args:
        roles: which ones; columns are called the same.
    """

    media = None
    stacked = True

    def __init__(self, roles: Sequence[str]) -> None:
        if isinstance(roles, str) or not roles:
            raise FieldError("roles", roles, "must be a list of roles of the data")
        self.columns = {role: Column(role.replace("_", " "), in_table="never", summary="none") for role in roles}

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        return {role: [_number(texts.get(role, "")) for texts in inp.texts] for role in self.columns}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
