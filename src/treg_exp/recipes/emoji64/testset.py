"""Write the shipped test set, 200 held-out pictures with captions and counterfactual captions, and a validation set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.counterfactuals import nearest_of
from treg_exp.recipes.emoji64.counterfactuals_chosen import CHOSEN
from treg_exp.recipes.emoji64.split import TEST_CATEGORIES
from treg_exp.reports.rows import write_table
from treg_exp.shipped import write_hashes
from treg_exp.signals.image import save_png

VALIDATION = 48  # pictures
ORDER_SEED = 0  # of the rows: `CHOSEN` starts with hand-picked ones, and whoever takes the first N wants any N

#: The last three compare the picture with that of the counterfactual in the same style: RMSE in units of [-1, 1].
FIELDS = (
    "sample_id", "caption", "counterfactual", "name", "counterfactual_name", "style", "category",
    "measurement_rmse", "measurement_rmse_x16", "picture_rmse",
)  # fmt: skip


def write_test_set(corpus: Corpus, folder: Path) -> None:
    """Write ``images/<sample_id>.png`` and ``captions.csv``, in an order drawn once.

    Args:
        corpus: the whole corpus.
        folder: where to write; existing files of the same names are replaced.

    Raises:
        ValueError: the test pictures are not those of `CHOSEN`, or no picture of the training set, or none in the
            same style, shows a counterfactual.
    """
    position = {corpus.pictures[index].sample_id: index for index in corpus.split.test}
    trained = {corpus.pictures[index].name for index in corpus.split.train}
    if position.keys() != CHOSEN.keys():
        raise ValueError(f"test pictures and counterfactuals differ: {sorted(position.keys() ^ CHOSEN.keys())}")
    if not trained.issuperset(CHOSEN.values()):
        raise ValueError(f"never trained on: {sorted(set(CHOSEN.values()) - trained)}")
    rows = []
    for sample_id in shuffled_order():
        index, name = position[sample_id], CHOSEN[sample_id]
        picture, other = corpus.pictures[index], nearest_of(corpus, index, name)
        texts = (styled_caption(picture.name, picture.style), styled_caption(name, picture.style))
        figures = [f"{rmse:.3f}" for rmse in (other.measurement_rmse, other.coarse_rmse, other.picture_rmse)]
        rows.append((index, (sample_id, *texts, picture.name, name, picture.style, picture.category, *figures)))
    _write(corpus, folder, FIELDS, rows)
    write_hashes(folder)


def shuffled_order() -> list[str]:
    """Sample ids of the test set as its table has them: shuffled once, so that its first N are any N."""
    order = sorted(CHOSEN)
    random.Random(ORDER_SEED).shuffle(order)
    return order


def write_validation_set(corpus: Corpus, folder: Path) -> None:
    """Write held-out pictures of the test set's categories that are not in it, for the choice of settings.

    Args:
        corpus: the whole corpus.
        folder: where to write ``images/<sample_id>.png``, in an order drawn once, and ``captions.csv``.
    """
    tested = set(corpus.split.test)
    rest = [i for i in corpus.split.held_out if i not in tested and corpus.pictures[i].category in TEST_CATEGORIES]
    random.Random(0).shuffle(rest)
    rows = []
    for number, index in enumerate(rest[:VALIDATION]):
        picture = corpus.pictures[index]
        caption = styled_caption(picture.name, picture.style)
        rows.append((index, (f"{number:02d}-{picture.sample_id}", caption, picture.name, picture.style)))
    _write(corpus, folder, ("sample_id", "caption", "name", "style"), rows)
    write_hashes(folder)


def _write(corpus: Corpus, folder: Path, fields: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]) -> None:
    """``images/<sample_id>.png`` and ``captions.csv`` of (position in the corpus, fields, the sample id first)."""
    for index, row in rows:
        save_png(corpus.as_float(torch.tensor([index]))[0], folder / "images" / f"{row[0]}.png")
    write_table([dict(zip(fields, row, strict=True)) for _, row in rows], fields, folder / "captions.csv")
