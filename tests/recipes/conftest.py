"""The 200 packaged pictures as a small corpus, and a recipe that is done in seconds."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.recipe import Recipe
from treg_exp.recipes.emoji64.sources import Picture
from treg_exp.recipes.emoji64.split import Split


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    folder = Path(str(files("treg_exp") / "assets" / "emoji_test"))
    with (folder / "captions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    images = np.stack([np.asarray(Image.open(folder / "images" / f"{row['sample_id']}.png")) for row in rows])
    pictures = tuple(Picture(row["sample_id"], row["name"], (), row["style"], row["category"], "", "") for row in rows)
    split = Split(train=tuple(range(160)), held_out=tuple(range(160, 200)), test=tuple(range(160, 180)))
    return Corpus(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), pictures, split)


@pytest.fixture
def recipe(corpus: Corpus, tmp_path: Path) -> Recipe:
    return Recipe(corpus, tmp_path / "train", {"steps": 6, "batch_size": 4, "validate_every": 3, "device": "cpu"})
