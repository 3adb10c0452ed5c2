"""From trained stages to a folder that anybody can load, and the short command around it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.recipes.emoji64.conftest import Miniature
from treg_exp import cli
from treg_exp.files import write_json
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.recipes.emoji64 import command
from treg_exp.recipes.emoji64.evaluate import evaluate
from treg_exp.recipes.emoji64.export import export, load_clip, load_pipeline, measure
from treg_exp.recipes.emoji64.modelcard import training_record
from treg_exp.shipped import file_hash, read_hashes

FRESH = Callable[..., Miniature]


def test_export_loads_in_diffusers_and_samples(trained: Miniature, prior: Path) -> None:
    pipe = load_pipeline(prior)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("red apple", num_inference_steps=2, output_type="pt", generator=torch.Generator().manual_seed(0))
    assert image.images.shape == (1, 3, 64, 64)
    assert pipe.vae.config.scaling_factor == trained.stages.scaling_factor(trained.corpus)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert load_clip(prior, pipe.text_encoder, pipe.tokenizer).width == 128
    assert pipe.text_encoder.config.hidden_size == 128
    assert sum(file.stat().st_size for file in prior.rglob("*.safetensors")) < 60e6
    assert sorted(path.name for path in prior.parent.iterdir()) == ["judge", "prior"]
    judge, kept = load_judge(prior.with_name("judge")), trained.stages.judge()
    pictures = trained.corpus.as_float(torch.arange(4))
    torch.testing.assert_close(judge.image_features(pictures), kept.image_features(pictures), atol=2e-3, rtol=0)
    assert (prior.with_name("judge") / "model.safetensors").stat().st_size < 10e6


@pytest.mark.parametrize(
    ("stage", "file", "prefix"),
    [
        ("autoencoder", "vae/diffusion_pytorch_model", ""),
        ("clip", "text_encoder/model", "text_encoder."),
        ("unet", "unet/diffusion_pytorch_model", ""),
    ],
)
def test_the_average_is_exported(trained: Miniature, prior: Path, stage: str, file: str, prefix: str) -> None:
    weights = trained.stages.folder(stage).averaged()
    for name, value in load_file(prior / f"{file}.safetensors").items():
        assert torch.equal(value, weights[f"{prefix}{name}"].half()), name


def test_the_library_loads_what_was_exported(prior: Path) -> None:
    from treg_exp.priors.diffusers_folder import DiffusersFolder

    spec = DiffusersFolder(path=str(prior), precision="fp32")
    spec.check()
    loaded = spec.load(torch.device("cpu"))
    assert loaded.text is not None
    assert loaded.text.embed(["red apple"]).tokens.shape == (1, 32, 128)
    assert loaded.image_text is not None


def test_a_denoiser_can_be_trained_on_an_exported_prior_alone(prior: Path, fresh: FRESH, tmp_path: Path) -> None:
    """Stages that were never trained in the folder come from the prior, and so does what its card says of them."""
    start = shutil.copytree(prior, tmp_path / "prior")
    record = {"clip": {"steps": 7}, "unet": {"steps": 8}}
    write_json(start / "figures.json", {"training": record})
    again = fresh(start_from=start)
    again.train("unet", **{"budget.steps": 2, "trainer.val_check_interval": 2})
    assert not again.stages.is_trained("clip")
    exported = export(again.corpus, again.stages, tmp_path / "other", figures=False)
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model", "image_encoder/model"):
        before, after = (load_file(place / f"{part}.safetensors") for place in (start, exported))
        assert all(torch.equal(after[name], value) for name, value in before.items()), part
    told = training_record(again.stages)
    assert told["clip"] == record["clip"]
    assert (told["unet"]["steps"], told["unet"]["batch"]) == (2, 8)


@pytest.mark.slow
def test_figures_can_be_measured_again(
    trained: Miniature, prior: Path, fresh: FRESH, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a prior that was trained elsewhere, with its own words on how; the weights stay."""
    folder = shutil.copytree(prior, tmp_path / "prior")
    shutil.copytree(prior.with_name("judge"), tmp_path / "judge")
    weights = (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    write_json(folder / "figures.json", {"training": {"unet": training_record(trained.stages)["unet"]}})
    monkeypatch.setattr(
        "treg_exp.recipes.emoji64.export.evaluate", lambda *given, **named: evaluate(*given, **named, samples=12)
    )
    monkeypatch.setattr("treg_exp.recipes.emoji64.export.SHEET_PROMPTS", ("red apple",))
    measure(trained.corpus, fresh("nothing").stages, folder)
    tables = json.loads((folder / "figures.json").read_text())
    assert tables["all"]["sample_judge_top5"]["n"] == 12
    assert tables["training"]["unet"]["steps"] == 45
    card = (folder / "README.md").read_text()
    assert "made by `treg-exp train-prior --stage figures`" in card
    assert "| 45 |" in card
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == weights
    assert all(file_hash(folder / name) == value for name, value in read_hashes(folder).items())
    assert "figures.json" in read_hashes(folder)


def test_the_short_command_composes_the_same_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = []
    monkeypatch.setattr(command, "fit", trained.append)
    words = "train-prior --stage unet --steps 7 --batch-size 32 --seed 3 --precision fp32 --device cuda --out"
    assert cli.main([*words.split(), str(tmp_path / "a, b=c"), "--start-from", str(tmp_path)]) == 0
    recipe = trained[0].recipe
    assert (recipe.budget.steps, recipe.budget.minutes) == (7, None)
    assert (recipe.data.batch_size, recipe.sharing.batch_size, recipe.seed, recipe.data.seed) == (32, 32, 3, 3)
    assert (recipe.trainer.precision, recipe.trainer.accelerator) == ("fp32", "gpu")
    assert trained[0].run_dir == str(tmp_path / "a, b=c" / "unet")
    assert recipe.stages.start_from == str(tmp_path)
    assert recipe.optimizer.rate == 5e-4


def test_the_short_command_keeps_the_recipes_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr(command, "fit", trained.append)
    assert cli.main(["train-prior", "--stage", "judge"]) == 0
    assert cli.main(["train-prior", "--stage", "clip", "--minutes", "2"]) == 0
    assert [cfg.recipe.seed for cfg in trained] == [1, 0]
    assert [cfg.recipe.budget.minutes for cfg in trained] == [80, 2]
