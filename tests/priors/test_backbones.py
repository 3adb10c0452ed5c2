"""Every backbone of the Stable Diffusion family gives the numbers of diffusers' own pipeline, and runs through TReg."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from tests.priors.backbones import KINDS, SIZE, write_backbone
from tests.priors.sampling import PROMPTS, check_treg, load, sample
from tests.tiny import LinearFeatures, step_state, with_image_text
from treg_exp.api import measure, restore
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.denoisers.unet import guidance_embedding
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level
from treg_exp.solvers.treg import TReg
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

TEXTS = [{"prompt": prompt} for prompt in PROMPTS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def _pipeline(folder: Path, prior: Prior, **scheduler: Any) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """The networks of a prior in the pipeline that they were made for, with DDIM.

    Its last step ends at noise level 0: our solvers decode the last estimate of z_0, too.
    """
    own = DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False, set_alpha_to_one=True, **scheduler)
    parts = {"vae": prior.codec.network.module, "unet": prior.denoiser.network.module, "scheduler": own}
    if len(prior.info.text_layout.spans) > 1:
        (one, two), (first, second) = prior.text.encoders, prior.text.tokenizers
        pipe = StableDiffusionXLPipeline(
            text_encoder=one, text_encoder_2=two, tokenizer=first, tokenizer_2=second, add_watermarker=False, **parts
        )
    else:
        pipe = StableDiffusionPipeline(
            text_encoder=prior.text.encoder, tokenizer=prior.text.tokenizer, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False, **parts,
        )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _check_against_pipeline(folder: Path, null: str = "", **scheduler: Any) -> None:
    prior = load(folder)
    ours, start = sample(prior, steps=5, guidance=4.0, null=null, shape=(3, SIZE, SIZE))
    # Without a negative prompt the pipeline of SDXL means zeros; that of the others encodes the empty text.
    theirs = _pipeline(folder, prior, **scheduler)(
        PROMPTS, negative_prompt=[null] * 2 if null else None, guidance_scale=4.0, num_inference_steps=5, latents=start,
        height=SIZE, width=SIZE, output_type="pt",
    ).images  # fmt: skip
    assert theirs.std() > 0.02, "a picture without content agrees with anything"
    torch.testing.assert_close((ours / 2 + 0.5).clamp(0, 1), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "lcm"])
@pytest.mark.parametrize("null", ["", "out of focus"])
def test_guided_samples_equal_those_of_the_pipeline_of_diffusers(folders, kind: str, null: str) -> None:
    """Text, added conditions, prediction type, schedule, scale of the latent: a fault in any of them shows."""
    _check_against_pipeline(folders[kind], null)


def test_a_schedule_that_ends_in_pure_noise_works_with_v_prediction(folders, tmp_path: Path) -> None:
    """Zero terminal SNR (Lin et al., 2305.08891): the first network call sees no signal at all."""
    folder = _rescaled(folders["sd21"], tmp_path)
    prior = load(folder)
    assert prior.info.moves(5, (3, SIZE, SIZE))[0].now == Level(999, 0.0, 1.0)
    _check_against_pipeline(folder)
    check_treg(prior, steps=6, guidance=3.0)


def test_a_schedule_that_ends_in_pure_noise_is_refused_with_noise_estimates(folders, tmp_path: Path) -> None:
    """Before any weights are read, wherever the first step would look."""
    folder = _rescaled(folders["sd15"], tmp_path)
    spec = DiffusersFolder(path=str(folder))
    with pytest.raises(ValueError, match=r"no signal at timestep 999.*needs v_prediction or sample, or timestep_spac"):
        spec.info.moves(5, (3, SIZE, SIZE))
    leading = DiffusersFolder(path=str(folder), timestep_spacing="leading")
    assert leading.info.moves(10, (3, SIZE, SIZE))[0].now.t == 901


def _rescaled(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to / "prior")
    own = DDIMScheduler.from_pretrained(
        folder / "scheduler", rescale_betas_zero_snr=True, timestep_spacing="trailing", set_alpha_to_one=True
    )
    own.save_pretrained(to / "prior" / "scheduler")
    return to / "prior"


@pytest.mark.parametrize("kind", KINDS)
def test_treg_restores_with_every_backbone(folders, kind: str) -> None:
    """Few steps for the distilled ones."""
    few = kind in ("lcm", "turbo")
    check_treg(load(folders[kind]), steps=4 if few else 6, guidance=1.0 if few else 3.0)


def test_negation_moves_one_encoder_of_sdxl_and_not_the_pooled_text(folders) -> None:
    prior = load(folders["sdxl"])
    assert prior.info.text_layout.widths == (16, 24)
    prior = with_image_text(prior, LinearFeatures(_matrix(24)))
    text = TextPolicy().start(prior, TEXTS)
    x_y = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    null = AdaptiveNegation(lr=1e-2).update(prior, text, step_state(x_y)).null
    moved = null.tokens - text.null.tokens
    assert moved.shape == (2, 20, 40)
    assert (moved[..., 16:].abs() > 0.09).all()
    assert moved[..., :16].abs().max() == 0
    assert torch.equal(null.pooled, text.null.pooled)
    prior = with_image_text(prior, LinearFeatures(_matrix(40)))
    with pytest.raises(ValueError, match=r"40 and 16 \+ 24"):
        AdaptiveNegation().check(prior.info)


def _matrix(width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3 * 8 * 8, width)).astype(np.float32)


def test_what_the_folders_say(folders) -> None:
    infos = {kind: DiffusersFolder(path=str(folder)).info for kind, folder in folders.items()}
    assert [sum(infos[kind].text_layout.widths) for kind in KINDS] == [24, 32, 32, 40, 24, 24]
    assert {kind: info.kind for kind, info in infos.items() if info.kind != "epsilon"} == {"sd21": "v_prediction"}
    assert infos["turbo"].schedule.timesteps(4) == [999, 749, 499, 249]
    leading = DiffusersFolder(path=str(folders["turbo"]), timestep_spacing="leading").info
    assert leading.schedule.timesteps(4) == [750, 500, 250, 0]


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_consistency_models_visit_the_timesteps_of_diffusers(folders, steps: int) -> None:
    scheduler = LCMScheduler.from_pretrained(folders["lcm"] / "scheduler")
    scheduler.set_timesteps(steps)
    info = DiffusersFolder(path=str(folders["lcm"])).info
    assert info.schedule.timesteps(steps) == scheduler.timesteps.tolist()


def test_consistency_models_are_told_the_scale(folders) -> None:
    """As diffusers' pipeline tells it, and it makes a difference."""
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor([7.5]), embedding_dim=32)
    torch.testing.assert_close(guidance_embedding(8.5, 32), theirs, rtol=0, atol=1e-3)  # sines of thousands
    weak, strong, usual = (load(folders["lcm"], embedded_guidance=g) for g in (1.0, 8.5, None))
    z, text = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), weak.text.embed(["a cat"])
    level = usual.info.schedule.level(499)
    one, two, three = (prior.predict(z, level, text).eps for prior in (weak, strong, usual))
    assert (one - two).abs().max() > 1e-3
    assert torch.equal(two, three)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_changes_little(folders, kind: str) -> None:
    half, whole = (load(folders[kind], precision=p) for p in ("bf16", "fp32"))
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BicubicDownsampling(8, (3, SIZE, SIZE)), x)
    one, other = (restore(problem, prior, PROMPTS, TReg(steps=4), guidance=1.0) for prior in (half, whole))
    assert 0 < (one - other).abs().mean() < 0.05


def test_the_empty_text_of_sdxl_is_what_its_folder_says(folders, tmp_path: Path) -> None:
    zero = load(folders["sdxl"]).text
    encoded = load(write_backbone("sdxl", tmp_path, without_text_is_zero=False)).text
    empty, cat = zero.embed(["", "a cat"])[[0]], zero.embed(["", "a cat"])[[1]]
    assert empty.tokens.abs().max() == empty.pooled.abs().max() == 0
    assert encoded.embed([""]).tokens.abs().max() > 0.1
    torch.testing.assert_close(cat.tokens, encoded.embed(["a cat"]).tokens)
    torch.testing.assert_close(cat.pooled, encoded.embed(["a cat"]).pooled)


def test_a_unet_with_the_scheduler_of_a_flow_is_one(tmp_path: Path) -> None:
    """Its samples are those of diffusers' Euler steps with the network's output as the velocity."""
    folder = write_backbone("sd15", tmp_path / "flow")
    (folder / "scheduler" / "scheduler_config.json").unlink()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    scheduler.save_pretrained(folder / "scheduler")
    spec = DiffusersFolder(path=str(folder), precision="fp32")
    spec.check()
    assert (spec.info.schedule, spec.info.kind) == (Flow(shift=2.0), "flow")
    prior = spec.load()
    text = prior.text.embed(["a dog"])
    z = expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(4)
    for t in scheduler.timesteps:
        with torch.no_grad():
            velocity = prior.denoiser.network.module(expected, t[None], text.tokens).sample
        expected = scheduler.step(velocity, t, expected).prev_sample
    for move in spec.info.schedule.moves(4):
        z = move(prior.predict(z, move.now, text))
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-5)
