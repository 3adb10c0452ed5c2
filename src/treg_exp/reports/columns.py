"""How reports name columns and variants beyond what a run itself keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from treg_exp.metrics.column import Column, Columns
from treg_exp.run_layout import RunLayout

#: Numbers of a signal that belong to all of its draws together.
POSTERIOR: Mapping[str, Column] = {
    "posterior_std": Column("std of\ndraws"),
    "psnr_of_mean": Column("PSNR\nof mean", "dB", 2, higher_is_better=True),
}

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
    return Columns.read(RunLayout(Path(run_dir)).columns).with_more(POSTERIOR)


def variant_label(name: str, columns: Columns | None = None) -> str:
    """A variant's name for people: ``no_text`` -> ``no text``; where the columns of a run call it otherwise, that."""
    own = {} if columns is None else columns.variants
    return own.get(name) or VARIANT_LABELS.get(name, name.replace("_", " "))
