"""Find other things that a measurement of 8 x 8 pixels can hardly tell from a given picture.

The search is code and gives candidates with figures; which candidate a person would believe is a choice by eye, kept
in `counterfactuals_chosen`. All figures are RMSE over the values of an array, in units of [-1, 1].

    python -m treg_exp.recipes.emoji64.counterfactuals --data-dir train/data --sheets /tmp/sheets

lists the candidates of every test picture and draws them, and the chosen pairs, as sheets to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.recipes.emoji64.corpus import Corpus, CorpusFolder
from treg_exp.recipes.emoji64.counterfactuals_chosen import CHOSEN
from treg_exp.recipes.emoji64.nearest import SAME
from treg_exp.signals.image import save_png

#: The measurement by which the search goes: `task=sr_x8`, without its noise (sigma 0.01).
FACTOR = 8
COARSE_FACTOR = 16  # `task=sr_x16`, whose figure is told beside it
DIFFERS = SAME  # pictures that differ by less are drawings of the same thing


@dataclass(frozen=True)
class Candidate:
    """Another picture of the corpus, compared with a given one.

    Attributes:
        index: its position in the corpus.
        name: what it shows.
        measurement_rmse: between the two (3, 8, 8) measurements.
        coarse_rmse: between the two (3, 4, 4) measurements.
        picture_rmse: between the two (3, 64, 64) pictures.
    """

    index: int
    name: str
    measurement_rmse: float
    coarse_rmse: float
    picture_rmse: float


def candidates(corpus: Corpus, index: int, count: int = 12, differs: float = DIFFERS) -> list[Candidate]:
    """Other things by the same artist whose measurements are nearest while the pictures differ clearly.

    Args:
        corpus: the whole corpus; held-out pictures are compared as well.
        index: position of the given picture.
        count: how many to return at most.
        differs: smallest RMSE between the full pictures, in units of [-1, 1].

    Returns:
        One candidate per name, the nearest measurement first.
    """
    given = corpus.pictures[index]
    rivals = [
        rival for rival, other in enumerate(corpus.pictures) if other.style == given.style and other.name != given.name
    ]
    best: dict[str, Candidate] = {}
    for found in sorted(compare(corpus, index, rivals), key=lambda candidate: candidate.measurement_rmse):
        if found.picture_rmse >= differs:
            best.setdefault(found.name, found)
    return list(best.values())[:count]


def nearest_of(corpus: Corpus, index: int, name: str) -> Candidate:
    """The picture of one name in the given picture's style; of several drawings the one measured nearest.

    Args:
        corpus: the whole corpus.
        index: position of the given picture.
        name: what the other picture shows.

    Raises:
        ValueError: the artist has no such picture.
    """
    style = corpus.pictures[index].style
    rivals = [rival for rival, other in enumerate(corpus.pictures) if (other.name, other.style) == (name, style)]
    if not rivals:
        raise ValueError(f"no picture of {name!r} in {style} style")
    return min(compare(corpus, index, rivals), key=lambda candidate: candidate.measurement_rmse)


def compare(corpus: Corpus, index: int, rivals: Sequence[int]) -> list[Candidate]:
    """Compare a picture with others, both measured and whole.

    Args:
        corpus: the whole corpus.
        index: position of the given picture.
        rivals: positions of the others.

    Returns:
        One candidate per rival, in the same order.
    """
    own, found = corpus.as_float(torch.tensor([index])), []
    for start in range(0, len(rivals), 64):  # chunks so small that memory is reused, not asked for
        some = rivals[start : start + 64]
        others = corpus.as_float(torch.tensor(some))
        measured = (_rmse(measure(own, by), measure(others, by)).tolist() for by in (FACTOR, COARSE_FACTOR))
        figures = zip(some, *measured, _rmse(own, others).tolist(), strict=True)
        found += [Candidate(rival, corpus.pictures[rival].name, *rest) for rival, *rest in figures]
    return found


def measure(images: Tensor, factor: int = FACTOR) -> Tensor:
    """The measurement of `task=sr_x8` without noise: antialiased bicubic reduction by 8.

    Args:
        images: (B, 3, 64, 64) in [-1, 1].
        factor: of the reduction.

    Returns:
        (B, 3, 8, 8) in the same units; it overshoots [-1, 1] slightly at sharp edges.
    """
    return BicubicDownsampling(factor, images.shape[1:]).A(images)


def forced_to_fit(picture: Tensor, target: Tensor) -> Tensor:
    """The picture nearest to one thing that has the measurement of another: what a reader is asked to believe.

    Args:
        picture: (B, 3, 64, 64) in [-1, 1], the other thing.
        target: (B, 3, 64, 64) in [-1, 1], whose measurement is to be met.

    Returns:
        (B, 3, 64, 64), clamped to [-1, 1] for display, which breaks the fit where it cuts.
    """
    operator = BicubicDownsampling(FACTOR, picture.shape[1:])
    return (picture + operator.pinv(operator.A(target) - operator.A(picture))).clamp(-1, 1)


def sheet(corpus: Corpus, rows: Sequence[Sequence[int]]) -> Tensor:
    """Pictures with their measurements below; the first of a row is the given one, the others its rivals.

    Args:
        corpus: the whole corpus.
        rows: positions in the corpus, at least one per row.

    Returns:
        (3, H, W) in [-1, 1]: per row of pictures one of measurements, and one of the rivals `forced_to_fit`.
    """
    strips = []
    for row in rows:
        pictures = corpus.as_float(torch.tensor(row))
        measured = F.interpolate(measure(pictures).clamp(-1, 1), scale_factor=FACTOR, mode="nearest")
        fitted = forced_to_fit(pictures, pictures[:1].expand_as(pictures))
        tiles = F.pad(torch.cat([pictures, measured, fitted], dim=2), (2, 2, 2, 6), value=-1.0)
        strips.append(torch.cat(list(tiles), dim=2))
    width = max(strip.shape[2] for strip in strips)
    return torch.cat([F.pad(strip, (0, width - strip.shape[2]), value=-1.0) for strip in strips], dim=1)


def report(corpus: Corpus, count: int, folder: Path | None = None) -> None:
    """Print the chosen counterfactual (``*``) and the candidates of every test picture: RMSE at x8, at x16, whole.

    Args:
        corpus: the whole corpus.
        count: candidates per picture.
        folder: where to draw the same as sheets of 10 pictures each, None for nowhere.
    """
    position = {corpus.pictures[index].sample_id: index for index in corpus.split.test}
    rows = []
    for sample_id, name in CHOSEN.items():
        index = position[sample_id]
        others = [nearest_of(corpus, index, name), *candidates(corpus, index, count)]
        for mark, other in zip("*" + " " * count, others, strict=False):
            figures = (other.measurement_rmse, other.coarse_rmse, other.picture_rmse)
            print(f"{mark} {sample_id:60} {other.name:45}", *(f"{figure:.3f}" for figure in figures))
        rows.append([index, *(other.index for other in others)])
    if folder is not None:
        for start in range(0, len(rows), 10):
            save_png(sheet(corpus, rows[start : start + 10]), folder / f"candidates_{start:03d}.png")


def _rmse(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).pow(2).mean(dim=(1, 2, 3)).sqrt()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="List and draw what the test pictures could be as well.")
    parser.add_argument("--data-dir", type=Path, default=Path("train/data"), help="cache of the corpus")
    parser.add_argument("--count", type=int, default=12, help="candidates per picture")
    parser.add_argument("--sheets", type=Path, default=None, help="folder for sheets (default: none drawn)")
    options = parser.parse_args()
    report(CorpusFolder(options.data_dir).load(), options.count, options.sheets)
