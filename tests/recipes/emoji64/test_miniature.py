"""The whole recipe through Hydra on 24 things in three styles: is what comes out better than chance?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.stats import binom

from tests.recipes.emoji64.conftest import NAMES, Miniature
from treg_exp.metrics.fidelity import psnr
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.evaluate import Evaluation, evaluate
from treg_exp.recipes.emoji64.export import load_clip, load_pipeline
from treg_exp.recipes.emoji64.modelcard import model_card, training_record
from treg_exp.recipes.emoji64.retrieval import held_out_hits, name_hits
from treg_exp.recipes.emoji64.samples import draw_samples

SAMPLES = 12


@pytest.fixture(scope="module")
def measured(trained: Miniature, prior: Path) -> Evaluation:
    pipe = load_pipeline(prior)
    encoders = {
        "clip": load_clip(prior, pipe.text_encoder, pipe.tokenizer),
        "judge": load_judge(prior.with_name("judge")),
    }
    return evaluate(pipe, trained.corpus, encoders, samples=SAMPLES)


def better_than_chance(hits: float, count: int, chance: float) -> bool:
    """Whether guessing has less than one chance in 1000 of that many hits."""
    return bool(binom.sf(round(hits) - 1, count, chance) < 1e-3)


def test_better_than_chance_is_strict() -> None:
    assert not better_than_chance(5, 24, 5 / 24)
    assert not better_than_chance(11, 24, 5 / 24)
    assert better_than_chance(13, 24, 5 / 24)


def test_each_thing_is_held_out_once(trained: Miniature) -> None:
    corpus = trained.corpus
    assert sorted(corpus.pictures[i].name for i in corpus.split.held_out) == sorted(NAMES)
    assert len(corpus.split.train) == 2 * len(NAMES)


def test_autoencoder_beats_the_average_picture(measured: Evaluation, trained: Miniature) -> None:
    corpus = trained.corpus
    truth = corpus.as_float(torch.tensor(corpus.split.held_out))
    average = corpus.as_float(torch.tensor(corpus.split.train)).mean(dim=0, keepdim=True).expand_as(truth)
    assert measured.figures()["autoencoder_psnr"]["mean"] > psnr(average, truth).mean() + 4.0


@pytest.mark.parametrize("encoder", ["clip", "judge"])
def test_encoders_find_names_of_unseen_pictures(measured: Evaluation, encoder: str) -> None:
    hits = measured.values[f"{encoder}_top5"]
    assert better_than_chance(hits.sum().item(), len(NAMES), 5 / len(NAMES))


def test_samples_are_recognised_by_the_judge(prior: Path, trained: Miniature) -> None:
    corpus = trained.corpus
    pictures = [corpus.pictures[i] for i in corpus.split.train]
    drawn = draw_samples(load_pipeline(prior), [styled_caption(p.name, p.style) for p in pictures], steps=10)
    judge = load_judge(prior.with_name("judge"))
    labels = corpus.labels[torch.tensor(corpus.split.train)]
    hits = name_hits(judge.image_features(drawn), judge.text_features(corpus.names), labels)["top5"]
    assert better_than_chance(hits.sum().item(), len(pictures), 5 / len(NAMES))


def test_denoiser_beats_saying_nothing(trained: Miniature) -> None:
    objective = trained.objective("unet", trained=True)
    loss = objective.figures()["val_loss"]
    for parameter in objective.network.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    assert loss < 0.5 * objective.figures()["val_loss"]


def test_figures_are_shares_with_bounds(measured: Evaluation, trained: Miniature, prior: Path) -> None:
    figures, encoders = measured.figures(), ("clip", "judge")
    assert set(figures) == {
        *("autoencoder_psnr", "autoencoder_ssim", "autoencoder_lpips", "nearest", "same"),
        *(f"{name}_{top}" for name in encoders for top in ("top1", "top5")),
        *(f"sample_{name}_{figure}" for name in encoders for figure in ("top1", "top5", "rank")),
        *("sample_nearest", "sample_same", "sample_frechet", "sample_kernel"),
    }
    for name, figure in figures.items():
        assert figure["low"] <= figure["mean"] <= figure["high"], name
    assert figures["autoencoder_psnr"]["n"] == figures["judge_top5"]["n"] == len(NAMES)
    assert figures["sample_nearest"]["n"] == SAMPLES
    found = held_out_hits(load_judge(prior.with_name("judge")), trained.corpus)["top5"]
    assert figures["judge_top5"]["mean"] == pytest.approx(found, abs=1e-3)
    assert found == pytest.approx(trained.stages.folder("judge").figures()[-1]["top5"], abs=0.05)
    kinds = measured.by_category()
    assert sum(kind["nearest"]["n"] for kind in kinds.values()) == len(NAMES)
    mean = sum(kind["autoencoder_psnr"]["mean"] * kind["autoencoder_psnr"]["n"] for kind in kinds.values()) / len(NAMES)
    assert mean == pytest.approx(figures["autoencoder_psnr"]["mean"], abs=1e-3)


def test_the_card_tells_the_figures_and_how_it_was_trained(measured: Evaluation, trained: Miniature) -> None:
    record = training_record(trained.stages)
    assert {stage: (row["steps"], row["batch"]) for stage, row in record.items()} == {
        "autoencoder": (45, 8), "clip": (60, 48), "unet": (45, 8)
    }  # fmt: skip
    card = model_card(trained.corpus, record, measured)
    assert f"{measured.figures()['autoencoder_psnr']['mean']:.2f} [" in card
    assert "found by the judge, among the first five" in card
    worst = trained.corpus.pictures[measured.prompted[measured.worst(1)[0]]]
    assert f"true drawing: {worst.sample_id};" in card
