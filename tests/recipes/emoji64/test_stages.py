"""The stages one by one: losses fall, a kill changes nothing, what is locked stays, weights of a prior are taken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import ROOT
from tests.recipes.emoji64.conftest import SMALL, Miniature
from tests.training.killing import train_and_kill
from treg_exp.errors import ConfigError
from treg_exp.noise import generator as keyed_generator
from treg_exp.recipes.emoji64.autoencoder import coarse_share
from treg_exp.recipes.emoji64.denoising import strata
from treg_exp.recipes.emoji64.trained import weights_in
from treg_exp.recipes.emoji64.vocabulary import MAX_LENGTH

STAGES = ("autoencoder", "clip", "judge", "unet")
FRESH = Callable[..., Miniature]
SHORT = {"budget.steps": 6, "data.batch_size": 4, "trainer.val_check_interval": 3}


def fixed_loss(objective: Any) -> float:
    with torch.no_grad():
        return float(objective.loss(torch.tensor(objective.corpus.split.train[:8]), keyed_generator("the same batch")))


def state_of(miniature: Miniature, stage: str) -> dict[str, Any]:
    return torch.load(miniature.stages.folder(stage).checkpoint, weights_only=True)


@pytest.mark.parametrize("stage", STAGES)
def test_loss_falls(trained: Miniature, stage: str) -> None:
    before, after = trained.objective(stage), trained.objective(stage, trained=True)
    for objective in (before, after):
        objective.advance(1.0, objective.network)  # compare the loss that was trained last
    assert fixed_loss(after) < 0.97 * fixed_loss(before)


@pytest.mark.parametrize("stage", ["autoencoder", "clip", "judge"])
def test_resumed_after_a_kill_equals_unbroken(fresh: FRESH, stage: str) -> None:
    """Through both phases of a stage: the second begins after half of the steps."""
    unbroken, killed = fresh("unbroken"), fresh("killed")
    unbroken.train(stage, **SHORT)
    train_and_kill(lambda: killed.train(stage, **SHORT), saved_at=3, killed_at=5)
    assert state_of(killed, stage)["global_step"] == 3
    killed.train(stage, **SHORT)
    expected, found = (state_of(miniature, stage)["state_dict"] for miniature in (unbroken, killed))
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.slow
def test_killed_and_continued_by_the_same_command(fresh: FRESH) -> None:
    """``kill -9`` at some moment of ``run.py mode=fit``; what was trained is what an unbroken training gives."""
    wishes = {**SMALL, "budget.steps": 40, "data.batch_size": 4, "trainer.val_check_interval": 5}
    unbroken, killed = fresh("unbroken"), fresh("killed")
    unbroken.train("autoencoder", **wishes)
    values = {**wishes, "data_dir": killed.data_dir, "out": killed.out, "checkpoint.seconds": 0.0}
    words = [f"recipe.{key}={'null' if value is None else value}" for key, value in values.items()]
    command = [sys.executable, "run.py", "mode=fit", "recipe=emoji64/autoencoder", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    checkpoint, deadline = killed.stages.folder("autoencoder").checkpoint, time.monotonic() + 120
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert checkpoint.is_file(), errors
    assert 1 <= state_of(killed, "autoencoder")["global_step"] < 40
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    expected, found = (state_of(miniature, "autoencoder") for miniature in (unbroken, killed))
    assert found["global_step"] == 40
    for name, value in found["state_dict"].items():
        torch.testing.assert_close(value, expected["state_dict"][name], atol=1e-6, rtol=0, msg=name)
    rows = [miniature.stages.folder("autoencoder").figures()[-1] for miniature in (unbroken, killed)]
    assert rows[0]["psnr"] == pytest.approx(rows[1]["psnr"], abs=1e-4)


def test_the_half_size_copy_counts_in_proportion_to_its_weight(fresh: FRESH) -> None:
    objective = fresh().objective("autoencoder")
    losses = []
    for weight in (0.0, 1.0, 2.0):
        objective.half_size_weight = weight
        losses.append(fixed_loss(objective))
    assert losses[1] > losses[0] + 0.01
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)


@pytest.mark.parametrize(
    ("stage", "locked", "free"),
    [("autoencoder", "encoder.conv_in", "decoder.conv_out"), ("clip", "text_encoder", "image_encoder")],
)
def test_what_a_denoiser_reads_stays_once_it_is_locked(fresh: FRESH, stage: str, locked: str, free: str) -> None:
    miniature = fresh()
    before = {name: value.clone() for name, value in untrained(miniature, stage).items()}
    miniature.train(stage, **SHORT, **{"objective.locked_from": 0.0})
    state = state_of(miniature, stage)
    for part in ("state_dict", "current_model_state"):
        after = {name.removeprefix("network."): value for name, value in state[part].items()}
        assert all(torch.equal(value, before[name]) for name, value in after.items() if name.startswith(locked))
        assert any(not torch.equal(value, before[name]) for name, value in after.items() if name.startswith(free))


def untrained(miniature: Miniature, stage: str) -> dict[str, Tensor]:
    return dict(miniature.objective(stage).network.state_dict())


def test_the_average_is_what_gets_locked(fresh: FRESH) -> None:
    objective = fresh().objective("autoencoder")
    average = fresh().objective("autoencoder").network
    for parameter in average.parameters():
        parameter.data.add_(1.0)
    objective.advance(0.5, average)
    assert objective.network.encoder.conv_in.weight.requires_grad
    objective.advance(0.6, average)
    assert torch.equal(objective.network.encoder.conv_in.weight, average.encoder.conv_in.weight)
    assert not objective.network.encoder.conv_in.weight.requires_grad
    assert not torch.equal(objective.network.decoder.conv_in.weight, average.decoder.conv_in.weight)


def test_coarse_share_is_one_for_a_flat_picture_and_small_for_noise() -> None:
    flat, noise = torch.randn(64, 4, 1, 1).expand(-1, -1, 16, 16), torch.randn(64, 4, 16, 16)
    assert coarse_share(flat) == pytest.approx(1.0)
    assert coarse_share(noise) == pytest.approx(0.25, abs=0.01)


def test_widths_are_settings(fresh: FRESH) -> None:
    miniature = fresh()
    miniature.train("autoencoder", **SHORT, **{"objective.widths": [8, 8, 16]})
    assert miniature.stages.autoencoder().config.block_out_channels == (8, 8, 16)


@pytest.mark.slow
def test_a_training_can_start_from_an_exported_prior(trained: Miniature, prior: Path, fresh: FRESH) -> None:
    again = fresh(start_from=prior)
    for stage, part in (("autoencoder", "decoder.conv_in"), ("clip", "text_encoder.encoder.layers.0.mlp.fc1")):
        start = dict(again.objective(stage).network.named_parameters())
        for name, value in trained.stages.folder(stage).averaged().items():
            if name.startswith(part):
                assert torch.equal(start[name], value.half().float()), name
        again.train(stage, **SHORT)
        for name, value in again.stages.folder(stage).averaged().items():
            if name.startswith(("encoder.", "text_encoder.")):
                assert torch.equal(value, trained.stages.folder(stage).averaged()[name].half().float()), name
    assert again.stages.tokenizer().get_vocab() == trained.stages.tokenizer().get_vocab()
    denoiser, exported = again.objective("unet"), trained.objective("unet", trained=True)
    for (name, value), kept in zip(denoiser.network.named_parameters(), exported.network.parameters(), strict=True):
        assert torch.equal(value, kept.half().float()), name
    assert fixed_loss(denoiser) < 1.5 * fixed_loss(exported)


@pytest.mark.parametrize("prefix", ["", "network.", "average."])
def test_a_denoiser_can_start_from_a_plain_file(trained: Miniature, tmp_path: Path, prefix: str) -> None:
    weights = trained.stages.folder("unet").averaged()
    state = {f"{prefix}{name}": value for name, value in weights.items()}
    if prefix == "average.":  # a checkpoint of the earlier recipe holds both
        state |= {f"network.{name}": torch.zeros_like(value) for name, value in weights.items()}
    torch.save({"state_dict": state} if prefix else state, tmp_path / "denoiser.ckpt")
    assert all(torch.equal(value, weights[name]) for name, value in weights_in(tmp_path / "denoiser.ckpt").items())


def test_weights_of_another_network_are_refused(trained: Miniature, tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match=r"recipe\.objective\.weights="):
        trained.objective("unet", **{"objective.weights": str(tmp_path / "other.pt")})


def test_networks_of_another_architecture_are_not_taken_for_trained(prior: Path, fresh: FRESH, tmp_path: Path) -> None:
    other = shutil.copytree(prior, tmp_path / "other")
    config = other / "image_encoder" / "config.json"
    config.write_text(config.read_text().replace("ConvNextModel", "CLIPVisionModel"))
    with pytest.raises(ValueError, match="image_encoder: of another architecture"):
        fresh(start_from=other).stages.towers()


def test_a_denoiser_alone_needs_a_prior_to_start_from(fresh: FRESH) -> None:
    with pytest.raises(ConfigError, match="train this stage first"):
        fresh().train("unet", **SHORT)


def test_another_kind_of_prediction_is_refused_by_the_checkpoint(trained: Miniature) -> None:
    with pytest.raises(ConfigError, match="prediction=epsilon: the checkpoint was trained with v_prediction"):
        trained.train("unet", **{"objective.prediction": "epsilon", "budget.steps": 100})


def test_strata_cover_the_unit_interval() -> None:
    drawn = strata(50, keyed_generator("strata"))
    assert torch.equal((drawn * 50).long(), torch.arange(50))


def test_the_denoiser_looks_most_where_it_is_told_to(trained: Miniature) -> None:
    seen: list[Tensor] = []
    objective = trained.objective("unet", **{"objective.focus": [0.6, 1.2]})
    objective._denoising_loss = lambda *given: (seen.append(given[2]) or torch.zeros(()), None)
    objective.loss(torch.zeros(1000, dtype=torch.long), keyed_generator("depths"))
    assert seen[0].median().item() == pytest.approx(0.6, abs=0.01)
    # One spread to each side of the median, in logits.
    assert seen[0].quantile(0.8413).item() == pytest.approx(torch.tensor(0.4055 + 1.2).sigmoid().item(), abs=0.01)


def test_text_feature_is_read_at_the_first_end_token(trained: Miniature) -> None:
    tokenizer, encoder = trained.stages.tokenizer(), trained.stages.towers().text_encoder
    padded = tokenizer(["red apple"], padding="max_length", max_length=MAX_LENGTH, return_tensors="pt").input_ids
    bare = tokenizer(["red apple"], return_tensors="pt").input_ids
    assert padded.shape[1] == tokenizer.model_max_length == 32
    torch.testing.assert_close(encoder(padded).pooler_output, encoder(bare).pooler_output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["", "zebra crossing!", "Ünïcödé 猫 7%"])
def test_tokenizer_knows_any_text(trained: Miniature, text: str) -> None:
    tokenizer = trained.stages.tokenizer()
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1  # the end token is also the unknown token
