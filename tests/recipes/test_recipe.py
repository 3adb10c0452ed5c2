"""The recipe in a few steps: losses fall, a kill changes nothing, what is locked stays, the export samples."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from treg_exp.doctor import file_hash, read_hashes
from treg_exp.files import write_json
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.loading import load_clip
from treg_exp.priors.precision import has_fast_bf16
from treg_exp.reports.rows import write_table
from treg_exp.recipes.emoji64.autoencoder import coarse_share
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.evaluate import evaluate
from treg_exp.recipes.emoji64.export import export, load_pipeline, measure
from treg_exp.recipes.emoji64.fit import checkpoint_file, fit_stage, load_stage, metric_rows, uses_bf16
from treg_exp.recipes.emoji64.modelcard import model_card, training_record
from treg_exp.recipes.emoji64.muon import MuonAdam, orthogonalised
from treg_exp.recipes.emoji64.recipe import Recipe
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage
from treg_exp.recipes.emoji64.unet import strata
from treg_exp.recipes.emoji64.vocabulary import MAX_LENGTH

STAGES = ("autoencoder", "clip", "judge", "unet")


def longer(recipe: Recipe, **wishes: Any) -> Recipe:
    return dataclasses.replace(recipe, wishes={**recipe.wishes, **wishes})


def fixed_loss(module: TrainingStage) -> float:
    with torch.no_grad():
        return float(module.loss(keyed_generator("the same batch"), 8))


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("trained")
    recipe = Recipe(corpus, folder, {"steps": 24, "batch_size": 16, "warmup_steps": 2, "device": "cpu"})
    for stage in STAGES:
        recipe.train(stage)
    return recipe


@pytest.mark.parametrize("stage", STAGES)
def test_loss_falls(trained: Recipe, stage: str) -> None:
    before, after = getattr(trained, stage)(), load_stage(getattr(trained, stage)())
    for module in (before, after):
        if hasattr(module, "locked_from"):
            module.locked_from = module.whole_from = 0.0  # compare the loss that was trained last
    assert fixed_loss(after) < 0.97 * fixed_loss(before)


@pytest.mark.parametrize("stage", ["autoencoder", "clip", "judge"])
def test_resumed_after_a_kill_equals_unbroken(recipe: Recipe, stage: str) -> None:
    unbroken = longer(recipe, steps=6)
    unbroken.train(stage)
    expected = weights_of(unbroken, stage)

    killed = dataclasses.replace(recipe, folder=recipe.folder.parent / "killed")
    module = getattr(killed, stage)()
    with pytest.raises(Killed):
        fit_killed(module, saved_at=3, killed_at=5)
    killed.train(stage)
    assert steps_of(killed, stage) == 6
    for name, value in weights_of(killed, stage).items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0, msg=name)


def test_the_half_size_copy_counts_in_proportion_to_its_weight(recipe: Recipe) -> None:
    module = recipe.autoencoder()
    losses = []
    for weight in (0.0, 1.0, 2.0):
        module.half_size_weight = weight
        losses.append(fixed_loss(module))
    assert losses[1] > losses[0] + 0.01
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)


@pytest.mark.parametrize(
    ("stage", "locked", "free"),
    [("autoencoder", "encoder.conv_in", "decoder.conv_out"), ("clip", "text_encoder", "image_encoder")],
)
def test_what_a_denoiser_reads_stays_once_it_is_locked(recipe: Recipe, stage: str, locked: str, free: str) -> None:
    module = getattr(recipe, stage)()
    module.locked_from = 0.0
    before = {name: value.clone() for name, value in module.network.named_parameters()}
    fit_stage(module)
    after = dict(module.network.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in after.items() if name.startswith(locked))
    changed = [not torch.equal(value, before[name]) for name, value in after.items() if name.startswith(free)]
    assert changed
    assert any(changed)


def test_coarse_share_is_one_for_a_flat_picture_and_small_for_noise(recipe: Recipe) -> None:
    flat, noise = torch.randn(64, 4, 1, 1).expand(-1, -1, 16, 16), torch.randn(64, 4, 16, 16)
    assert coarse_share(flat) == pytest.approx(1.0)
    assert coarse_share(noise) == pytest.approx(0.25, abs=0.01)


def test_a_finished_stage_is_left_alone(trained: Recipe) -> None:
    before = weights_of(trained, "autoencoder")
    trained.train("autoencoder")
    assert steps_of(trained, "autoencoder") == 24
    assert all(torch.equal(value, before[name]) for name, value in weights_of(trained, "autoencoder").items())


def test_export_loads_in_diffusers_and_samples(trained: Recipe, tmp_path: Path) -> None:
    folder = export(trained, tmp_path / "prior", figures=False)
    pipe = load_pipeline(folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("red apple", num_inference_steps=2, output_type="pt", generator=torch.Generator().manual_seed(0))
    assert image.images.shape == (1, 3, 64, 64)
    assert pipe.vae.config.scaling_factor == trained.scaling_factor()
    assert load_clip(folder / "image_encoder", pipe.text_encoder, pipe.tokenizer).width == 128
    assert pipe.text_encoder.config.hidden_size == 128
    assert sum(file.stat().st_size for file in folder.rglob("*.safetensors")) < 60e6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judge", "prior"]
    judge, trained_judge = load_judge(tmp_path / "judge"), load_stage(trained.judge()).average.judge
    pictures = trained.corpus.as_float(torch.arange(4))
    torch.testing.assert_close(
        judge.image_features(pictures), trained_judge.image_features(pictures), atol=2e-3, rtol=0
    )
    assert (tmp_path / "judge" / "model.safetensors").stat().st_size < 10e6


def test_figures_are_shares_with_bounds(trained: Recipe, tmp_path: Path) -> None:
    folder = export(trained, tmp_path / "prior", figures=False)
    pipe = load_pipeline(folder)
    clip = load_clip(folder / "image_encoder", pipe.text_encoder, pipe.tokenizer)
    encoders = {"clip": clip, "judge": load_judge(tmp_path / "judge")}
    measured = evaluate(pipe, trained.corpus, encoders, samples=12)
    figures = measured.figures()
    assert set(figures) == {
        *("autoencoder_psnr", "autoencoder_ssim", "autoencoder_lpips", "nearest", "same"),
        *(f"{name}_{top}" for name in encoders for top in ("top1", "top5")),
        *(f"sample_{name}_{figure}" for name in encoders for figure in ("top1", "top5", "rank")),
        *("sample_nearest", "sample_same", "sample_frechet", "sample_kernel"),
    }
    for name, figure in figures.items():
        assert figure["low"] <= figure["mean"] <= figure["high"], name
    held_out = len(trained.corpus.split.held_out)
    assert figures["autoencoder_psnr"]["n"] == figures["judge_top5"]["n"] == held_out == 40
    assert figures["sample_nearest"]["n"] == 12
    assert figures["judge_top5"]["mean"] == pytest.approx(load_stage(trained.judge()).figures()["top5"], abs=0.03)
    kinds = measured.by_category()
    assert sum(kind["nearest"]["n"] for kind in kinds.values()) == 40
    mean = sum(kind["autoencoder_psnr"]["mean"] * kind["autoencoder_psnr"]["n"] for kind in kinds.values()) / 40
    assert mean == pytest.approx(figures["autoencoder_psnr"]["mean"], abs=1e-3)
    card = model_card(trained, measured)
    assert f"{figures['autoencoder_psnr']['mean']:.2f} [" in card
    assert "found by the judge, among the first five" in card
    worst = trained.corpus.pictures[measured.prompted[measured.worst(1)[0]]]
    assert f"true drawing: {worst.sample_id};" in card


def test_a_training_can_start_from_an_exported_prior(trained: Recipe, tmp_path: Path) -> None:
    folder = export(trained, tmp_path / "prior", figures=False)
    again = dataclasses.replace(trained, folder=tmp_path / "again", start_from=folder)
    for stage, part in (("autoencoder", "decoder.conv_in"), ("clip", "text_encoder.encoder.layers.0.mlp.fc1")):
        start = dict(getattr(again, stage)().average.named_parameters())
        for name, value in load_stage(getattr(trained, stage)()).average.named_parameters():
            if name.startswith(part):
                assert torch.equal(start[name], value.half().float()), name
    assert again.tokenizer().get_vocab() == trained.tokenizer().get_vocab()
    for stage in ("autoencoder", "clip"):
        longer(again, steps=1).train(stage)
    denoiser, exported = again.unet(), load_stage(trained.unet())
    for (name, value), expected in zip(denoiser.average.named_parameters(), exported.average.parameters(), strict=True):
        assert torch.equal(value, expected.half().float()), name
    assert fixed_loss(denoiser) < 1.5 * fixed_loss(exported)


def test_a_denoiser_can_be_trained_on_an_exported_prior_alone(trained: Recipe, tmp_path: Path) -> None:
    """Stages that were never trained in the folder come from the prior, and so does what its card says of them."""
    folder = export(trained, tmp_path / "prior", figures=False)
    record = {"clip": {"steps": 7}, "unet": {"steps": 8}}
    write_json(folder / "figures.json", {"training": record})
    again = longer(dataclasses.replace(trained, folder=tmp_path / "again", start_from=folder), steps=2)
    again.train("unet")
    assert not checkpoint_file(again.settings("clip").folder).is_file()
    exported = export(again, tmp_path / "other", figures=False)
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model", "image_encoder/model"):
        before, after = (load_file(place / f"{part}.safetensors") for place in (folder, exported))
        assert all(torch.equal(after[name], value) for name, value in before.items()), part
    told = training_record(dataclasses.replace(again, wishes={}))
    assert told["clip"] == record["clip"]
    assert (told["unet"]["steps"], told["unet"]["batch"]) == (2, again.settings("unet").batch_size)


def test_networks_of_another_architecture_are_not_taken_for_trained(trained: Recipe, tmp_path: Path) -> None:
    folder = export(trained, tmp_path / "prior", figures=False)
    config = folder / "image_encoder" / "config.json"
    config.write_text(config.read_text().replace("ConvNextModel", "CLIPVisionModel"))
    again = dataclasses.replace(trained, folder=tmp_path / "again", start_from=folder)
    with pytest.raises(ValueError, match="image_encoder: of another architecture"):
        again.trained(again.clip())


def test_figures_can_be_measured_again(trained: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a prior that was trained elsewhere, with its own words on how; the weights stay."""
    folder = export(trained, tmp_path / "prior", figures=False)
    weights = (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    write_json(folder / "figures.json", {"training": {"unet": training_record(trained)["unet"]}})
    monkeypatch.setattr("treg_exp.recipes.emoji64.export.evaluate", lambda *given: evaluate(*given, samples=12))
    measure(dataclasses.replace(trained, folder=tmp_path / "nothing"), folder)
    tables = json.loads((folder / "figures.json").read_text())
    assert tables["all"]["sample_judge_top5"]["n"] == 12
    assert tables["training"]["unet"]["steps"] == 24
    card = (folder / "README.md").read_text()
    assert "made by `treg-exp train-prior --stage figures`" in card
    assert "| 24 |" in card
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == weights
    assert all(file_hash(folder / name) == value for name, value in read_hashes(folder).items())
    assert "figures.json" in read_hashes(folder)


def test_a_denoiser_alone_needs_a_prior_to_start_from(trained: Recipe, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train this stage first"):
        dataclasses.replace(trained, folder=tmp_path / "empty").unet()


def test_strata_cover_the_unit_interval() -> None:
    drawn = strata(50, keyed_generator("strata"))
    assert torch.equal((drawn * 50).long(), torch.arange(50))


def test_the_denoiser_looks_most_where_it_is_told_to(trained: Recipe) -> None:
    seen: list[Tensor] = []
    module = trained.unet()
    module.focus = (0.6, 1.2)
    module._denoising_loss = lambda *given: seen.append(given[3]) or torch.zeros(())  # type: ignore[method-assign]
    module.loss(keyed_generator("depths"), 1000)
    assert seen[0].median().item() == pytest.approx(0.6, abs=0.01)
    # One spread to each side of the median, in logits.
    assert seen[0].quantile(0.8413).item() == pytest.approx(torch.tensor(0.4055 + 1.2).sigmoid().item(), abs=0.01)


def test_text_feature_is_read_at_the_first_end_token(trained: Recipe) -> None:
    tokenizer = trained.tokenizer()
    encoder = load_stage(trained.clip()).average.text_encoder
    padded = tokenizer(["red apple"], padding="max_length", max_length=MAX_LENGTH, return_tensors="pt").input_ids
    bare = tokenizer(["red apple"], return_tensors="pt").input_ids
    assert padded.shape[1] == tokenizer.model_max_length == 32
    torch.testing.assert_close(encoder(padded).pooler_output, encoder(bare).pooler_output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["", "zebra crossing!", "Ünïcödé 猫 7%"])
def test_tokenizer_knows_any_text(trained: Recipe, text: str) -> None:
    tokenizer = trained.tokenizer()
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1  # the end token is also the unknown token


def test_metrics_table_has_a_row_per_validation(recipe: Recipe) -> None:
    recipe.train("autoencoder")
    with (recipe.folder / "autoencoder" / "metrics.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert float(rows[-1]["psnr"]) > 0
    assert metric_rows(recipe.folder / "autoencoder" / "metrics.csv") == rows
    assert recipe.settings("autoencoder").kept() == recipe.settings("autoencoder")


def test_rows_of_steps_that_a_kill_undid_are_replaced(recipe: Recipe) -> None:
    folder = recipe.settings("autoencoder").folder
    write_table([{"step": step, "psnr": -1.0} for step in (2, 3, 5)], ("step", "psnr"), folder / "metrics.csv")
    recipe.train("autoencoder")
    rows = metric_rows(folder / "metrics.csv")
    assert [row["step"] for row in rows] == ["2", "3", "6"]
    assert [float(row["psnr"]) > 0 for row in rows] == [False, True, True]


def test_a_finished_stage_keeps_the_settings_it_was_trained_with(recipe: Recipe) -> None:
    recipe.train("autoencoder")
    longer(recipe, batch_size=16).train("autoencoder")
    assert longer(recipe, batch_size=16).settings("autoencoder").kept().batch_size == 4


def test_rate_warms_up_stays_and_falls_to_zero(tmp_path: Path) -> None:
    settings = StageSettings(tmp_path, None, 1000, 8, 1.0, warmup_steps=100, decay_fraction=0.3)
    factors = [settings.rate_factor(step, 0.0) for step in (0, 99, 700, 850, 1000)]
    assert factors == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.0])


def test_workers_share_a_batch_and_average_its_gradient(corpus: Corpus, tmp_path: Path) -> None:
    steps = {"steps": 2, "batch_size": 4, "warmup_steps": 1, "device": "cpu"}
    for folder in ("first", "second"):
        Recipe(corpus, tmp_path / folder, {**steps, "workers": 2}).train("autoencoder")
    first, second = (weights_of(Recipe(corpus, tmp_path / name, steps), "autoencoder") for name in ("first", "second"))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize(
    ("batch", "workers", "part_size", "parts"), [(64, 2, 16, 4), (64, 2, None, 2), (50, 2, 16, 10), (8, 2, 16, 2)]
)
def test_parts_are_equal_small_enough_and_the_same_number_for_every_worker(
    tmp_path: Path, batch: int, workers: int, part_size: int | None, parts: int
) -> None:
    assert StageSettings(tmp_path, None, 10, batch, 1.0, workers=workers, part_size=part_size).parts == parts


def test_a_batch_that_does_not_divide_between_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers=3"):
        StageSettings(tmp_path, None, 10, 8, 1.0, workers=3)


def test_settings_without_an_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`minutes`, `steps`"):
        StageSettings(tmp_path, None, None, 8, 1.0)


def test_orthogonalised_has_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(24, 60, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_the_update_is_float32_under_autocast() -> None:
    """In bfloat16 the products of the Gram matrix of such a gradient blow up: the largest was 18,246."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, 97).double().pow(-2)
    q = torch.linalg.qr(torch.randn(96, 96, generator=generator, dtype=torch.float64))[0]
    gradient = (q @ torch.diag(scale) @ torch.randn(96, 384, generator=generator, dtype=torch.float64)).float()
    moved = []
    for enabled in (False, True):
        parameter = torch.nn.Parameter(torch.zeros(96, 384))
        parameter.grad = gradient.clone()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            MuonAdam([parameter], [], matrix_rate=1.0, rate=0.0).step()
        moved.append(parameter.detach())
    torch.testing.assert_close(moved[1], moved[0], atol=1e-5, rtol=0)
    assert torch.linalg.svdvals(moved[1]).max() < 1.3


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (64, 1152)])
def test_iterating_the_gram_matrix_is_iterating_the_matrix(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    expected = (matrix / matrix.norm()).double()
    for _ in range(5):
        gram = expected @ expected.T
        expected = 3.4445 * expected + (-4.7750 * gram + 2.0315 * gram @ gram) @ expected
    torch.testing.assert_close(orthogonalised(matrix).double(), expected, atol=1e-4, rtol=0)


def test_bf16_is_used_only_where_asked_for_or_supported() -> None:
    assert uses_bf16("bf16", "cpu")
    assert not uses_bf16("fp32", "cpu")
    assert uses_bf16("auto", "cpu") == has_fast_bf16(torch.device("cpu"))


class Killed(Exception):
    """Stands for the end of the process."""


def fit_killed(module: TrainingStage, saved_at: int, killed_at: int) -> None:
    """Train, with a checkpoint after `saved_at` steps, and die without another one after `killed_at`."""
    original = module.on_train_batch_end

    def end_of_step(*arguments: Any) -> None:
        original(*arguments)
        if module.global_step == saved_at:
            module.trainer.save_checkpoint(checkpoint_file(module.settings.folder))
        if module.global_step == killed_at:
            raise Killed

    module.on_train_batch_end = end_of_step  # type: ignore[method-assign]
    fit_stage(module)


def state_of(recipe: Recipe, stage: str) -> dict[str, Any]:
    return torch.load(checkpoint_file(recipe.folder / stage), weights_only=True)


def weights_of(recipe: Recipe, stage: str) -> dict[str, Tensor]:
    return state_of(recipe, stage)["state_dict"]


def steps_of(recipe: Recipe, stage: str) -> int:
    return state_of(recipe, stage)["global_step"]
