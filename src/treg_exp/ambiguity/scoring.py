"""``treg-exp ambiguity``: the score of runs from their folders, finished or not, on any machine that sees them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.errors import ConfigError
from treg_exp.reports.ambiguity import summarise_ambiguity
from treg_exp.reports.ambiguity_table import ambiguity_lines, markdown_table
from treg_exp.run_layout import RunLayout, read_rows
from treg_exp.sweeps.overview import lines


def score_folders(folders: Sequence[Path], markdown: bool = False) -> int:
    """Print the score of every run; one that has none is told and left out.

    Args:
        folders: of runs and sweeps.
        markdown: one table of all.

    Raises:
        ConfigError: no run has a score.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in (line for folder in folders for line in lines(folder)):
        score = score_of(line.folder)
        if score is None:
            print(f"left out: {line.folder} has no picture of a group that was restored with the texts of all members")
            continue
        if line.status.state != "finished":
            print(f"note: {line.folder} is not finished ({line.status.state})")
        name = next(name for name in (line.folder.name, str(line.folder)) if name not in found)
        found[name] = score
        if not markdown:
            print("\n".join([str(line.folder), *ambiguity_lines(score), ""]))
    if not found:
        raise ConfigError("no run of experiment=benchmark/ambiguity with results in these folders")
    if markdown:
        print(markdown_table(found), end="")
    return 0


def score_of(run_dir: Path) -> dict[str, Any] | None:
    """The score of a run folder, see `summarise_ambiguity`; without a posterior where the run has not ended."""
    posterior: list[dict[str, str]] = []
    if (file := RunLayout(run_dir).posterior).is_file():
        with file.open(encoding="utf-8", newline="") as stream:
            posterior = list(csv.DictReader(stream))
    return summarise_ambiguity(read_rows(run_dir), posterior)
