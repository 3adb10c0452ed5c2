"""The whole recipe on 24 things in three styles (2.5 minutes on two cores): is what comes out better than chance?

Each thing is held out in one style and trained on in the other two, as in the real corpus.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binom

from treg_exp.metrics.networks.judge import load_judge
from treg_exp.metrics.fidelity import psnr
from treg_exp.priors.loading import load_clip
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.evaluate import Evaluation, evaluate
from treg_exp.recipes.emoji64.export import export, load_pipeline
from treg_exp.recipes.emoji64.fit import load_stage
from treg_exp.recipes.emoji64.recipe import Recipe
from treg_exp.recipes.emoji64.retrieval import name_hits
from treg_exp.recipes.emoji64.samples import draw_samples
from treg_exp.recipes.emoji64.sources import Picture
from treg_exp.recipes.emoji64.split import Split

NAMES = [
    "red apple",
    "green apple",
    "banana",
    "strawberry",
    "blue heart",
    "green heart",
    "yellow heart",
    "purple heart",
    "black heart",
    "eggplant",
    "carrot",
    "four leaf clover",
    "full moon",
    "octopus",
    "pig face",
    "crab",
    "maple leaf",
    "tomato",
    "grapes",
    "penguin",
    "fire",
    "droplet",
    "cactus",
    "tangerine",
]
ROWS = ("noto", "twemoji", "fluent")
STEPS = {"autoencoder": (45, 8), "clip": (60, 48), "judge": (45, 48), "unet": (45, 8)}  # steps, pictures per step


@pytest.fixture(scope="module")
def miniature() -> Corpus:
    with Image.open(Path(__file__).parents[1] / "data" / "miniature" / "sheet.png") as file:
        sheet = np.asarray(file.convert("RGB")).reshape(len(ROWS), 64, len(NAMES), 64, 3)
    images = torch.from_numpy(sheet.transpose(0, 2, 4, 1, 3).copy()).flatten(0, 1)
    pictures = tuple(Picture(f"{n}-{s}".replace(" ", "_"), n, (), s, "things", "", "") for s in ROWS for n in NAMES)
    held_out = tuple(row * len(NAMES) + i for row in range(len(ROWS)) for i in range(row, len(NAMES), len(ROWS)))
    train = tuple(i for i in range(len(pictures)) if i not in held_out)
    return Corpus(images, pictures, Split(train=train, held_out=held_out, test=held_out))


@pytest.fixture(scope="module")
def recipe(miniature: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("miniature")
    for stage, (steps, batch) in STEPS.items():
        recipe = Recipe(miniature, folder, {"steps": steps, "batch_size": batch, "device": "cpu", "ema_decay": 0.95})
        recipe.train(stage)
    return recipe


@pytest.fixture(scope="module")
def prior(recipe: Recipe) -> Path:
    return export(recipe, recipe.folder / "prior", figures=False)


@pytest.fixture(scope="module")
def measured(recipe: Recipe, prior: Path) -> Evaluation:
    pipe = load_pipeline(prior)
    clip = load_clip(prior / "image_encoder", pipe.text_encoder, pipe.tokenizer)
    encoders = {"clip": clip, "judge": load_judge(prior.with_name("judge"))}
    return evaluate(pipe, recipe.corpus, encoders, samples=4)  # its samples are drawn anew below


def better_than_chance(hits: float, count: int, chance: float) -> bool:
    """Whether guessing has less than one chance in 1000 of that many hits."""
    return bool(binom.sf(round(hits) - 1, count, chance) < 1e-3)


def test_better_than_chance_is_strict() -> None:
    assert not better_than_chance(5, 24, 5 / 24)
    assert not better_than_chance(11, 24, 5 / 24)
    assert better_than_chance(13, 24, 5 / 24)


def test_autoencoder_beats_the_average_picture(measured: Evaluation, miniature: Corpus) -> None:
    truth = miniature.as_float(torch.tensor(miniature.split.held_out))
    average = miniature.as_float(torch.tensor(miniature.split.train)).mean(dim=0, keepdim=True).expand_as(truth)
    assert measured.figures()["autoencoder_psnr"]["mean"] > psnr(average, truth).mean() + 4.0


@pytest.mark.parametrize("encoder", ["clip", "judge"])
def test_encoders_find_names_of_unseen_pictures(measured: Evaluation, encoder: str) -> None:
    hits = measured.values[f"{encoder}_top5"]
    assert better_than_chance(hits.sum().item(), len(NAMES), 5 / len(NAMES))


def test_samples_are_recognised_by_the_judge(prior: Path, miniature: Corpus) -> None:
    pictures = [miniature.pictures[i] for i in miniature.split.train]
    drawn = draw_samples(load_pipeline(prior), [styled_caption(p.name, p.style) for p in pictures], steps=10)
    judge = load_judge(prior.with_name("judge"))
    labels = miniature.labels[torch.tensor(miniature.split.train)]
    hits = name_hits(judge.image_features(drawn), judge.text_features(miniature.names), labels)["top5"]
    assert better_than_chance(hits.sum().item(), len(pictures), 5 / len(NAMES))


def test_denoiser_beats_saying_nothing(recipe: Recipe) -> None:
    module = load_stage(recipe.unet())
    silent = recipe.unet()
    for parameter in silent.average.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    assert module.figures()["val_loss"] < 0.5 * silent.figures()["val_loss"]
