"""How reports name columns and variants beyond what a run itself keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from treg_exp.metrics.column import Column, Columns
from treg_exp.reports.calibration import COLUMNS as CALIBRATION
from treg_exp.run_layout import RunLayout

#: Numbers of a signal that belong to all of its draws together, whatever the metrics of the run.
POSTERIOR: Mapping[str, Column] = {
    "posterior_std": Column("std of\ndraws", of="draws"),
    "psnr_of_mean": Column("PSNR\nof mean", "dB", 2, higher_is_better=True, of="draws", uses_target=True),
}
OF_MEAN, BEST = "_of_mean", "_best"  # what the names of further ones end in

VARIANT_LABELS = {
    "none": "no text",
    "no_text": "no text",
    "own": "own text",
    "counterfactual": "counterfactual text",
    "other_1": "another text",
    "other_2": "a third text",
    "empty_prompt": "empty prompt",
    "fixed_text": "fixed text",
    "random_caption": "random caption",
    "style_word": "style word",
    "negation": "negation",
}


def read_columns(run_dir: str | Path) -> Columns:
    """The columns of a run, see ``Columns.read``, and those of its draws."""
    columns = Columns.read(RunLayout(Path(run_dir)).columns)
    return columns.with_more(of_draws(columns))


def of_draws(columns: Columns) -> dict[str, Column]:
    """Columns of all draws of a sample together: their spread, numbers of their mean and of the best of them."""
    found = {"posterior_std": POSTERIOR["posterior_std"]}
    compared = [name for name in columns.of_rows if columns.known[name].uses_target]
    for name in dict.fromkeys(["psnr", *compared]):
        column = columns.known.get(name, POSTERIOR["psnr_of_mean"])
        head = replace(column, of="draws", below_pictures=False, uses_target=True, note="")
        label = "PSNR" if name not in columns.known else column.line
        found[f"{name}{OF_MEAN}"] = replace(head, label=f"{label}\nof mean")
        if name in columns.known and column.higher_is_better is not None:
            found[f"{name}{BEST}"] = replace(head, label=f"{label}\nbest draw")
    return {**found, **CALIBRATION}


def variant_label(name: str, columns: Columns | None = None) -> str:
    """A variant's name for people: ``no_text`` -> ``no text``; where the columns of a run call it otherwise, that."""
    own = {} if columns is None else columns.variants
    return own.get(name) or VARIANT_LABELS.get(name, name.replace("_", " "))
