"""Write the shipped test set: 200 held-out pictures, their captions, and counterfactual captions for 24 of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.files import save_png, write_text
from treg_exp.training.captions import styled_caption
from treg_exp.training.corpus import Corpus

FIELDS = ("sample_id", "caption", "counterfactual", "name", "style", "category")

#: Test picture and the name of another thing that looks nearly the same at 8 x 8 pixels in the same style.
#: Candidates came from `nearest_at_8x8`; a person picked them by eye and put the most telling first.
COUNTERFACTUALS = {
    "leopard-twemoji": "tiger",
    "crab-fluent": "pig face",
    "flatbread-noto": "full moon",
    "anguished_face-twemoji": "winking face",
    "oil_drum-fluent": "luggage",
    "pouting_cat_face-noto": "smiling cat face with open mouth",
    "womans_hat-fluent": "crown",
    "grey_heart-noto": "koala",
    "pensive_face-fluent": "smiling face with smiling eyes",
    "sun-fluent": "coin",
    "lotus-noto": "pig",
    "beating_heart-noto": "octopus",
    "skull-noto": "ghost",
    "pie-fluent": "full moon",
    "crying_cat_face-fluent": "smiling cat face with open mouth",
    "badger-fluent": "hippopotamus",
    "moyai-fluent": "coconut",
    "clock_face_nine_oclock-fluent": "wheel",
    "toothbrush-fluent": "thermometer",
    "chair-noto": "deer",
    "basket-noto": "crown",
    "hamsa-twemoji": "droplet",
    "cyclone-noto": "globe with meridians",
    "speak-no-evil_monkey-twemoji": "see-no-evil monkey",
}


def write_test_set(corpus: Corpus, folder: Path) -> None:
    """Write ``images/<sample_id>.png`` and ``captions.csv``, those with a counterfactual first.

    Args:
        corpus: the whole corpus.
        folder: where to write; existing files of the same names are replaced.
    """
    position = {corpus.pictures[index].sample_id: index for index in corpus.split.test}
    order = [*COUNTERFACTUALS, *sorted(set(position) - set(COUNTERFACTUALS))]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(FIELDS)
    for sample_id in order:
        picture = corpus.pictures[position[sample_id]]
        other = COUNTERFACTUALS.get(sample_id)
        counterfactual = styled_caption(other, picture.style) if other else ""
        caption = styled_caption(picture.name, picture.style)
        writer.writerow((sample_id, caption, counterfactual, picture.name, picture.style, picture.category))
        save_png(corpus.as_float(torch.tensor([position[sample_id]]))[0], folder / "images" / f"{sample_id}.png")
    write_text(folder / "captions.csv", table.getvalue())


def nearest_at_8x8(corpus: Corpus, index: int, count: int = 7, differs: float = 0.12) -> list[tuple[int, float]]:
    """Pictures of the same style that an 8 x 8 measurement can hardly tell apart from a given one.

    Args:
        corpus: the whole corpus.
        index: position of the given picture.
        count: how many to return.
        differs: smallest RMSE between the full pictures, in units of [-1, 1].

    Returns:
        Positions with the RMSE between the measurements, nearest first.
    """
    picture = corpus.pictures[index]
    rivals = [
        rival
        for rival, other in enumerate(corpus.pictures)
        if other.style == picture.style and other.name != picture.name
    ]
    own, others = corpus.as_float(torch.tensor([index])), corpus.as_float(torch.tensor(rivals))
    distance = _rmse(measure_8x8(own), measure_8x8(others))
    distance[_rmse(own, others) < differs] = torch.inf
    best = distance.topk(count, largest=False).indices.tolist()
    return [(rivals[position], float(distance[position])) for position in best]


def measure_8x8(images: Tensor) -> Tensor:
    """Antialiased bicubic reduction to 8 x 8.

    Args:
        images: (B, 3, 64, 64).

    Returns:
        (B, 3, 8, 8) in the same range, up to overshoot.
    """
    return F.interpolate(images, size=(8, 8), mode="bicubic", antialias=True)


def _rmse(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).pow(2).mean(dim=(1, 2, 3)).sqrt()
