"""The metrics that a run has chosen: of restorations and of sets, with what made their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Measure, Metric, cautions, check_metrics, columns_of
from treg_exp.metrics.column import Column
from treg_exp.metrics.independence import guides_of
from treg_exp.metrics.provenance import Versions, hash_of_versions, versions_of
from treg_exp.metrics.sets.base import SetMetric


@dataclass(frozen=True, eq=False)
class Measures(Mapping[str, Measure]):
    """All metrics of a run, by name.

    Attributes:
        by_name: as the configuration names them.
    """

    by_name: Mapping[str, Measure]

    def __getitem__(self, name: str) -> Measure:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    @property
    def of_restorations(self) -> dict[str, Metric]:
        """Those that give every restoration a number."""
        return {name: measure for name, measure in self.by_name.items() if isinstance(measure, Metric)}

    @property
    def of_sets(self) -> dict[str, SetMetric]:
        """Those that give all of them together one."""
        return {name: measure for name, measure in self.by_name.items() if isinstance(measure, SetMetric)}

    @property
    def columns(self) -> dict[str, Column]:
        """Columns of all, see `columns_of`."""
        return columns_of(self.by_name)

    @cached_property
    def versions(self) -> Versions:
        """What their numbers are made with, see ``provenance.py``."""
        return versions_of(self.by_name)

    @property
    def scored_by(self) -> str:
        """The hash of it that rows hold."""
        return hash_of_versions(self.versions)

    def check(self, medium: str, taken: Collection[str], pieces: Mapping[str, object]) -> list[str]:
        """Refuse what cannot judge the run, see `check_metrics` and ``Measure.check_guides``.

        Args:
            medium: of the prior's signals.
            taken: columns that are filled by others.
            pieces: of the run, by their place in the configuration: among them is what guides.

        Returns:
            What to know of judges that are relatives of what guides.

        Raises:
            FieldError: the field begins with the name of the metric.
        """
        check_metrics(self.by_name, medium, taken)
        guides, told = guides_of(pieces), []
        for name, measure in self.by_name.items():
            try:
                kinship = measure.check_guides(guides)
            except FieldError as error:
                raise error.at(name) from None
            told += [f"metrics.{name}: {kinship}"] if kinship else []
        return told

    def cautions(self, prior: str) -> list[str]:
        """See `cautions`."""
        return cautions(self.by_name, prior)
