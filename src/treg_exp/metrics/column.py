"""What the numbers of a run mean. Metrics bring their columns, the engine those of the costs, a run keeps them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from treg_exp.files import read_json, write_json
from treg_exp.signals.base import Medium
from treg_exp.signals.media import medium

# Columns that reports read by name: did the judge pick the text that was given, by which margin, and (+ the name of a
# variant) how it scores the text of each variant. Filled by `text_choice.py`, which needs torch and reports do not.
MATCH, MARGIN, SCORE = "judge_match", "judge_margin", "judge_of_"
MARK = "*"  # of columns that are optimised for
OPTIMISED = f"{MARK} optimised for: the text guidance uses the same encoder; no independent evidence."
TARGET = "target_"  # begins the columns that are about the true signal, see `on_target.py`


@dataclass(frozen=True)
class Column:
    """How one number is shown.

    Attributes:
        label: heading; a line break where a narrow table should break.
        unit: unit in the heading, or nothing.
        digits: digits after the decimal point.
        higher_is_better: direction, or None where there is none.
        optimised: text guidance raises this number directly.
        in_table: ``always``, ``nonzero`` or ``never``: whether the table of the terminal shows it.
        below_pictures: whether the grid writes it below a restoration, with one digit less.
        note: a line below the table, or nothing.
        of: what has one such number: a ``restoration`` (a column of the rows), all ``draws`` of a sample together, or
            a ``set`` of restorations.
        uses_target: whether it compares with the target: then the best of several draws by it is an oracle's choice.
        summary: of many: their ``mean`` with its interval; that of a ``cost``, without one; the largest (``max``), of
            what a small last batch would lower; or ``none``, of what says nothing of restorations, such as a number of
            their group.
    """

    label: str
    unit: str = ""
    digits: int = 3
    higher_is_better: bool | None = None
    optimised: bool = False
    in_table: Literal["always", "nonzero", "never"] = "always"
    below_pictures: bool = False
    note: str = ""
    of: Literal["restoration", "draws", "set"] = "restoration"
    uses_target: bool = False
    summary: Literal["mean", "cost", "max", "none"] = "mean"

    @property
    def arrow(self) -> str:
        """Direction of improvement as a sign, or nothing."""
        return {None: "", True: "↑", False: "↓"}[self.higher_is_better]

    @property
    def line(self) -> str:
        """The label on one line."""
        return self.label.replace("\n", " ")

    @property
    def heading(self) -> str:
        """Label, unit, direction and mark on one line."""
        return " ".join(part for part in (self.line, self.unit, self.sign) if part)

    @property
    def sign(self) -> str:
        """Direction and mark."""
        return self.arrow + (MARK if self.optimised else "")


@dataclass(frozen=True)
class Columns:
    """The columns of a run, in the order of its tables, and the medium of its signals.

    Attributes:
        known: by name; others are shown by their name.
        medium_name: of the signals.
        sample_rate: of audio, in Hz.
        variants: what the variants are called; others go by their name.
        scored_by: hash that rows name -> versions and weights of the metrics that made them, see ``provenance.py``.
    """

    known: Mapping[str, Column] = field(default_factory=dict)
    medium_name: str = "image"
    sample_rate: int | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    scored_by: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Column:
        """The column of this name, or a plain one."""
        return self.known.get(name) or Column(name.replace("_", " "))

    def ordered(self, names: Iterable[str]) -> list[str]:
        """The known ones of ``names`` in their order, then the others as they come."""
        present = list(dict.fromkeys(names))
        return [name for name in self.known if name in present] + [name for name in present if name not in self.known]

    def with_more(self, more: Mapping[str, Column]) -> Columns:
        """The same with further columns at the end."""
        own = {name: column for name, column in self.known.items() if name not in more}
        return replace(self, known={**own, **more})

    @property
    def of_rows(self) -> dict[str, Column]:
        """Those that one restoration has, by name."""
        return {name: column for name, column in self.known.items() if column.of == "restoration"}

    @property
    def medium(self) -> Medium:
        """The medium of the signals."""
        return medium(self.medium_name, self.sample_rate)

    def write(self, file: Path) -> None:
        """Keep them with the run."""
        known = {name: asdict(column) for name, column in self.known.items()}
        about = {"medium": self.medium_name, "sample_rate": self.sample_rate, "variants": dict(self.variants)}
        write_json(file, {**about, "columns": known, "scored_by": dict(self.scored_by)})

    @classmethod
    def read(cls, file: Path) -> Columns:
        """Those of a run; of one without such a file (older than it) an image run without known columns."""
        stored: Mapping[str, Any] = read_json(file)
        if not stored:
            return cls()
        known = {name: _column(values) for name, values in stored["columns"].items()}
        return cls(
            known,
            stored["medium"],
            stored["sample_rate"],
            stored.get("variants", {}),
            stored.get("scored_by", {}),
        )


def _column(stored: Mapping[str, Any]) -> Column:
    """One of a run; before columns said how they are summarised, those of costs were the ones without a direction."""
    directed = stored.get("higher_is_better") is not None or stored.get("of", "restoration") != "restoration"
    return Column(**{"summary": "mean" if directed else "cost", **stored})
