"""Which trial of a search a run is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from treg_exp.engine.journal import PrunerSettings
from treg_exp.files import read_json, write_json
from treg_exp.run_layout import RunLayout


@dataclass(frozen=True)
class Trial:
    """Which trial a run is: ``trial.json`` of its folder.

    Attributes:
        number: of the trial in its study.
        objective: ``variant/column`` whose running mean is compared.
        pruner: when it ends early.
    """

    number: int
    objective: str
    pruner: PrunerSettings = field(default_factory=PrunerSettings)

    def write(self, folder: Path) -> None:
        """Keep it in a run folder."""
        write_json(RunLayout(folder).trial, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Trial | None:
        """That of a run folder; None where the run is no trial."""
        found = read_json(RunLayout(folder).trial)
        if not found:
            return None
        return cls(**{**found, "pruner": PrunerSettings(**found["pruner"])})
