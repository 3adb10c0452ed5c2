"""The pictures among which the shipped groups of the ambiguity benchmark were searched, as a folder with captions.

    python -m treg_exp.recipes.emoji64.ambiguity --data-dir train/data --out train/ambiguity
    treg-exp pairs task=sr_x16 data=folder data.path=train/ambiguity/images data.manifest=train/ambiguity/captions.csv

The settings of the second line are in ``docs/benchmark.md``. Pictures that the prior was trained on lend their text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus, CorpusFolder
from treg_exp.reports.rows import write_table
from treg_exp.signals.image import save_png

FIELDS = ("sample_id", "caption", "name", "style", "category", "restored")


def write_candidates(corpus: Corpus, folder: Path) -> int:
    """Write ``images/<sample_id>.png`` and ``captions.csv`` of all drawings in the three styles of the prior.

    Args:
        corpus: the whole corpus.
        folder: where to write.

    Returns:
        How many there are.
    """
    held_out, rows = set(corpus.split.held_out), []
    for index in sorted({*corpus.split.train, *held_out}):
        picture = corpus.pictures[index]
        restored = "yes" if index in held_out else "no"
        values = (picture.sample_id, styled_caption(picture.name, picture.style), picture.name, picture.style)
        rows.append(dict(zip(FIELDS, (*values, picture.category, restored), strict=True)))
        save_png(corpus.as_float(torch.tensor([index]))[0], folder / "images" / f"{picture.sample_id}.png")
    write_table(rows, FIELDS, folder / "captions.csv")
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the drawings among which groups are searched.")
    parser.add_argument("--data-dir", type=Path, default=Path("train/data"), help="cache of the corpus")
    parser.add_argument("--out", type=Path, default=Path("train/ambiguity"), help="folder to write")
    options = parser.parse_args()
    print(f"{write_candidates(CorpusFolder(options.data_dir).load(), options.out)} pictures in {options.out}")
