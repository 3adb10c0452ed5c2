"""Every kind of backbone gives the numbers of diffusers' own pipeline, and runs through TReg."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from tests.priors.backbones import KINDS, SIZE, write_backbone
from tests.tiny import LinearFeatures
from treg_exp.api import measure, restore
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.folder import prior_path
from treg_exp.priors.info import read_prior_info
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.loading import load_prior
from treg_exp.priors.latent import guidance_embedding
from treg_exp.schedule import Point, Schedule
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import AdaptiveNegation, FixedNullText
from treg_exp.text.policy import TextPolicy
from treg_exp.tasks.problems import Problem

PROMPTS = ["a bowl of fried rice", "a red apple"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def _pipeline(folder: Path, prior: LatentDiffusion) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """The networks of a prior in the pipeline that they were made for, with DDIM.

    Its last step ends at noise level 0: our solvers decode the last estimate of z_0, too.
    """
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False, set_alpha_to_one=True)
    parts = {"vae": prior.vae, "unet": prior.unet, "scheduler": scheduler}
    if prior.text_layout.pooled:
        (one, two), (first, second) = prior.texts.encoders, prior.texts.tokenizers
        return StableDiffusionXLPipeline(
            text_encoder=one, text_encoder_2=two, tokenizer=first, tokenizer_2=second, add_watermarker=False, **parts
        )
    return StableDiffusionPipeline(
        text_encoder=prior.texts.encoder, tokenizer=prior.texts.tokenizer, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **parts,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "lcm"])
@pytest.mark.parametrize("null", ["", "out of focus"])
def test_guided_samples_equal_those_of_the_pipeline_of_diffusers(folders, kind: str, null: str) -> None:
    """Text, added conditions, prediction type, schedule, scale of the latent: a fault in any of them shows."""
    prior = load_prior(str(folders[kind]), precision="fp32")
    policy = TextPolicy(ConstantGuidance(4.0), FixedNullText(null))
    noise = KeyedNoise([StreamKey(0, str(i)) for i in range(2)])
    x = torch.zeros(2, 3, SIZE, SIZE)
    problem = Problem(measure(BicubicDownsampling(8, (3, SIZE, SIZE)), x), policy.start(prior, PROMPTS))
    ours = Unconditional(steps=5).solve(problem, prior, policy, noise).image
    start = noise.normal("start", like=problem.latent_like(prior))
    pipe = _pipeline(folders[kind], prior)
    pipe.set_progress_bar_config(disable=True)
    # Without a negative prompt the pipeline of SDXL means zeros; that of the others encodes the empty text.
    theirs = pipe(
        PROMPTS, negative_prompt=[null] * 2 if null else None, guidance_scale=4.0, num_inference_steps=5, latents=start,
        height=SIZE, width=SIZE, output_type="pt",
    ).images  # fmt: skip
    assert theirs.std() > 0.02, "a picture without content agrees with anything"
    torch.testing.assert_close((ours / 2 + 0.5).clamp(0, 1), theirs, rtol=0, atol=1e-4)


def _matrix(width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3 * 8 * 8, width)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_treg_restores_with_every_backbone(folders, kind: str) -> None:
    """Few steps for the distilled ones; prompt and measurement matter, and the last projection meets the latter."""
    prior = load_prior(str(folders[kind]), precision="fp32")
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    measurement = measure(BicubicDownsampling(8, (3, SIZE, SIZE)), x)
    few = kind in ("lcm", "turbo")
    steps, settings = 4 if few else 6, {"guidance": 1.0 if few else 3.0}
    free = TReg(steps=steps, final_projection=False)
    image = restore(measurement, prior, PROMPTS, free, **settings)
    assert image.isfinite().all()
    other_prompt = restore(measurement, prior, PROMPTS[::-1], free, **settings)
    other_data = restore(replace(measurement, y=-measurement.y), prior, PROMPTS, free, **settings)
    for other in (other_prompt, other_data):
        assert (image - other).abs().amax(dim=(1, 2, 3)).min() > 1e-4
    projected = restore(measurement, prior, PROMPTS, TReg(steps=steps), **settings)
    before, after = ((measurement.operator.A(x) - measurement.y).square().mean() for x in (image, projected))
    assert after < 0.01 * before


def test_negation_moves_one_encoder_of_sdxl_and_not_the_pooled_text(folders) -> None:
    prior = load_prior(str(folders["sdxl"]), precision="fp32")
    assert prior.text_layout.widths == (16, 24)
    prior.clip = LinearFeatures(_matrix(24))
    text = TextPolicy().start(prior, PROMPTS)
    x_y = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    moved = AdaptiveNegation(lr=1e-2).update(prior, text, x_y).null - text.null
    assert moved.shape == (2, 21, 40)
    assert (moved[:, :20, 16:].abs() > 0.09).all()
    assert moved[:, :20, :16].abs().max() == 0
    assert moved[:, 20].abs().max() == 0
    prior.clip = LinearFeatures(_matrix(40))
    with pytest.raises(ValueError, match=r"40 and 16 \+ 24"):
        AdaptiveNegation().check(prior)


def test_what_the_folders_say(folders) -> None:
    assert [read_prior_info(str(folders[kind])).text_layout.width for kind in KINDS] == [24, 32, 32, 40, 24, 24]
    schedules = {kind: load_prior(str(folder)).schedule for kind, folder in folders.items()}
    assert {kind: s.prediction for kind, s in schedules.items() if s.prediction != "epsilon"} == {
        "sd21": "v_prediction"
    }
    assert schedules["turbo"].timesteps(4) == [999, 749, 499, 249]
    assert load_prior(str(folders["turbo"]), timestep_spacing="leading").schedule.timesteps(4) == [750, 500, 250, 0]


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_consistency_models_visit_the_timesteps_of_diffusers(folders, steps: int) -> None:
    scheduler = LCMScheduler.from_pretrained(folders["lcm"] / "scheduler")
    scheduler.set_timesteps(steps)
    assert load_prior(str(folders["lcm"])).schedule.timesteps(steps) == scheduler.timesteps.tolist()


@pytest.mark.parametrize(("spacing", "steps"), [("trailing", 1), ("trailing", 7), ("linspace", 5), ("leading", 7)])
def test_spacings_are_those_of_diffusers(spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    schedule = Schedule(tuple(scheduler.alphas_cumprod.tolist()), 1.0, spacing=spacing)
    assert schedule.timesteps(steps) == scheduler.timesteps.tolist()


def test_consistency_models_are_told_the_scale(folders) -> None:
    """As diffusers' pipeline tells it, and it makes a difference."""
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor([7.5]), embedding_dim=32)
    torch.testing.assert_close(guidance_embedding(8.5, 32), theirs, rtol=0, atol=1e-3)  # sines of thousands
    weak, strong = (load_prior(str(folders["lcm"]), precision="fp32", embedded_guidance=g) for g in (1.0, 8.5))
    z, text = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), weak.embed(["a cat"])
    point = Point(499, 0.3)
    assert (weak.predict(z, point, text) - strong.predict(z, point, text)).abs().max() > 1e-3


def test_a_schedule_without_signal_is_refused() -> None:
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    schedule = Schedule(tuple(scheduler.alphas_cumprod.double().tolist()), 1.0, "v_prediction", "trailing")
    with pytest.raises(ValueError, match=r"no signal at timestep 999.*timestep_spacing=leading"):
        schedule.steps(10)
    assert Schedule(schedule.alphas_cumprod, 1.0, "v_prediction", "leading").steps(10)[0].t == 901
    with pytest.raises(ValueError, match=r"timestep_spacing=karras: allowed are leading, trailing"):
        Schedule(schedule.alphas_cumprod, 1.0, spacing="karras")


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_changes_little(folders, kind: str) -> None:
    half, whole = (load_prior(str(folders[kind]), precision=p) for p in ("bf16", "fp32"))
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    measurement = measure(BicubicDownsampling(8, (3, SIZE, SIZE)), x)
    one, other = (restore(measurement, prior, PROMPTS, TReg(steps=4), guidance=1.0) for prior in (half, whole))
    assert 0 < (one - other).abs().mean() < 0.05


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_half_precision_weights_are_enough(folders, kind: str, tmp_path: Path) -> None:
    """Folders of the hub often hold float16 files only."""
    whole = load_prior(str(folders[kind]), precision="fp32")
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    for file in folder.glob("*/*.safetensors"):
        file.unlink()
    parts = {"unet": whole.unet, "vae": whole.vae, "text_encoder": getattr(whole.texts, "encoder", None)}
    if kind == "sdxl":
        parts["text_encoder"], parts["text_encoder_2"] = whole.texts.encoders
    z, point = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), Point(300, 0.5)
    expected = whole.predict(z, point, whole.embed(["a cat"]))
    for part, network in parts.items():
        network.half().save_pretrained(folder / part, variant="fp16")
    half = load_prior(str(folder), precision="fp32")
    assert {p.dtype for p in half.unet.parameters()} == {torch.float32}
    difference = (half.predict(z, point, half.embed(["a cat"])) - expected).abs().max()
    assert 0 < difference < 0.01 * expected.abs().max()


def test_sharded_weights_load_and_a_lost_shard_is_noticed(folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "sharded")
    prior = load_prior(str(folders["sd15"]), precision="fp32")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    prior.unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    again = load_prior(str(folder), precision="fp32")
    for a, b in zip(prior.unet.parameters(), again.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    shards[0].unlink()
    with pytest.raises(ValueError, match=r"missing unet/diffusion_pytorch_model\.safetensors"):
        prior_path(str(folder))


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("sdxl", "text_encoder_2/model.safetensors"),
        ("sdxl", "tokenizer_2/tokenizer_config.json"),
        ("sd15", "tokenizer/merges.txt"),
        ("sd15", "vae/config.json"),
        ("sd15", "scheduler/scheduler_config.json"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(folders, kind: str, lost: str, tmp_path: Path) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    if lost == "tokenizer/merges.txt":  # the older form of a tokenizer: two files
        (folder / "tokenizer" / "tokenizer.json").unlink()
        (folder / "tokenizer" / "vocab.json").write_text("{}")
        (folder / lost).touch()
    (folder / lost).unlink()
    with pytest.raises(ValueError, match=rf"missing {lost}\. Download them with `hf download") as error:
        read_prior_info(str(folder))
    assert str(folder) in str(error.value)
    assert "accept its licence" in str(error.value)


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_an_incomplete_image_encoder_is_refused_where_it_is_used(lost: str, tmp_path: Path) -> None:
    folder = shutil.copytree(prior_path("tiny_random"), tmp_path / "prior")
    (folder / "image_encoder" / lost).unlink()
    for use in (read_prior_info, load_prior):
        with pytest.raises(ValueError, match=rf"missing image_encoder/{lost}\. .*; image_encoder=false goes without"):
            use(str(folder))
    assert read_prior_info(str(folder), image_encoder=False).feature_width is None
    assert load_prior(str(folder), image_encoder=False).clip is None


def test_an_image_encoder_of_float16_weights(tmp_path: Path) -> None:
    folder = shutil.copytree(prior_path("tiny_random"), tmp_path / "prior")
    expected = load_prior(str(folder)).clip
    expected.image_encoder.half().save_pretrained(folder / "image_encoder", variant="fp16")
    (folder / "image_encoder" / "model.safetensors").unlink()
    half = load_prior(str(folder)).clip
    assert {p.dtype for p in half.image_encoder.parameters()} == {torch.float32}
    for a, b in zip(half.image_encoder.parameters(), expected.image_encoder.parameters(), strict=True):
        assert torch.equal(a, b.float())


def test_the_command_that_is_printed_is_one(tmp_path: Path) -> None:
    """Every pattern has its own flag: after the first one, the tool takes words for names of files."""
    with pytest.raises(ValueError, match="hf download") as error:
        prior_path("owner/model")
    words = shlex.split(re.search(r"`(hf download .*?)`", str(error.value))[1])
    assert words[:3] == ["hf", "download", "owner/model"]
    assert words[3::2] == ["--include", "--include", "--include", "--local-dir"]
    assert words[4::2] == ["*.json", "*.txt", "*/*.safetensors", "model"]


def test_float16_files_beside_an_index_without_its_shards(folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "both")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    lost = {"weight_map": {"conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(lost))
    assert prior_path(str(folder)) == folder


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("unet/config.json", "in_channels", 9, "takes 9 channels and the autoencoder makes 4"),
        ("unet/config.json", "_class_name", "UNet3DConditionModel", "only UNet2DConditionModel"),
        ("vae/config.json", "latents_mean", [0.1, 0, 0, 0], "latents_mean"),
        ("scheduler/scheduler_config.json", "prediction_type", "flow", "prediction_type=flow: allowed are epsilon"),
        ("scheduler/scheduler_config.json", "beta_schedule", None, "no beta_schedule"),
    ],
)
def test_other_kinds_of_models_are_refused(folders, tmp_path: Path, file: str, key: str, value, message: str) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "other")
    config = json.loads((folder / file).read_text())
    config[key] = value
    (folder / file).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    with pytest.raises(ValueError, match=message):
        read_prior_info(str(folder))


def test_names_of_repositories_and_single_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hf download stabilityai/stable-diffusion-2-1 .*--local-dir stable"):
        prior_path("stabilityai/stable-diffusion-2-1")
    file = tmp_path / "v1-5-pruned.safetensors"
    file.touch()
    with pytest.raises(ValueError, match=r"if models/none is a repository of the hub, download it with"):
        prior_path("models/none")
    with pytest.raises(ValueError, match="single file; convert it to a folder"):
        prior_path(str(file))


@pytest.mark.parametrize("path", ["models/none", "./none", "../models/none", "{here}/none"])
def test_local_paths_are_not_taken_for_names_of_repositories(path: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    path = path.format(here=tmp_path)
    with pytest.raises(ValueError, match=rf"`hf download OWNER/MODEL .*--local-dir {re.escape(path)}`"):
        prior_path(path)


def test_transformers_are_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    with pytest.raises(ValueError, match=r"a diffusion transformer .* only models with a U-Net are supported"):
        prior_path(str(tmp_path))


def test_parts_of_two_models_are_noticed(folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "mixed")
    shutil.rmtree(folder / "unet")
    shutil.copytree(folders["sd21"] / "unet", folder / "unet")
    with pytest.raises(ValueError, match=r"give 24 numbers per token.*cross_attention_dim=32"):
        read_prior_info(str(folder))


def test_the_empty_text_of_sdxl_is_what_its_folder_says(folders, tmp_path: Path) -> None:
    zero = load_prior(str(folders["sdxl"]), precision="fp32")
    encoded = load_prior(str(write_backbone("sdxl", tmp_path, without_text_is_zero=False)), precision="fp32")
    assert zero.embed(["", "a cat"])[0].abs().max() == 0
    assert encoded.embed([""]).abs().max() > 0.1
    torch.testing.assert_close(zero.embed(["", "a cat"])[1:], encoded.embed(["a cat"]))


def test_float16_leaves_the_autoencoder_of_sdxl_alone(folders) -> None:
    assert load_prior(str(folders["sdxl"]), precision="fp16").vae_precision == "fp32"
    assert load_prior(str(folders["sd15"]), precision="fp16").vae_precision == "fp16"
    assert {p.dtype for p in load_prior(str(folders["sdxl"]), precision="fp16").unet.parameters()} == {torch.float16}


def test_memory_savers_change_what_they_may(folders) -> None:
    """Slices and checkpoints give the same numbers, gradients too; tiles differ at their seams."""
    plain = load_prior(str(folders["sd15"]), precision="fp32")
    saving = load_prior(str(folders["sd15"]), precision="fp32", vae_slicing=True, gradient_checkpointing=True)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = plain.embed(PROMPTS)
    gradients = []
    for prior in (plain, saving):
        own = z.clone().requires_grad_()
        prior.decode(prior.predict(own, Point(300, 0.5), text)).square().sum().backward()
        gradients.append(own.grad)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-3 * gradients[0].abs().max()
    assert saving.vae.use_slicing
    assert saving.unet.is_gradient_checkpointing


def test_tiles_are_smaller_than_the_image_at_its_own_size(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tiled = (load_prior(str(folders["sd15"]), precision="fp32", vae_tiling=t) for t in (False, True))
    side = plain.image_size
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []
    for part in (tiled.vae.encoder, tiled.vae.decoder):
        part.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-1]))
    z, image = tiled.encode(x), tiled.decode(plain.encode(x))
    assert max(seen) == side // 2
    for a, b in ((z, plain.encode(x)), (image, plain.decode(plain.encode(x)))):
        assert a.shape == b.shape
        assert (a - b).abs().max() > 0  # how much, a random autoencoder does not tell: it normalises over the tile
