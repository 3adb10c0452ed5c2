"""Stable Diffusion 3 gives the numbers of diffusers' own pipeline, with and without T5, and runs through TReg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

from tests.priors.folders import CLIP_WIDTHS, SIZE, T5_WIDTH, write_sd3
from tests.priors.sampling import PROMPTS, check_treg, load, sample
from tests.tiny import LinearFeatures, step_state, with_image_text
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

DYNAMIC = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_image_seq_len=16, max_image_seq_len=256)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "with_t5": write_sd3(tmp_path_factory.mktemp("with")),
        "without_t5": write_sd3(tmp_path_factory.mktemp("without"), t5=False),
        "dynamic": write_sd3(tmp_path_factory.mktemp("dynamic"), scheduler=DYNAMIC),
    }


def _pipeline(folder: Path, prior: Prior) -> StableDiffusion3Pipeline:
    (one, two), (first, second), t5 = prior.text.encoders, prior.text.tokenizers, prior.text.t5
    pipe = StableDiffusion3Pipeline(
        transformer=prior.denoiser.network.module, vae=prior.codec.network.module, text_encoder=one, tokenizer=first,
        text_encoder_2=two, tokenizer_2=second, text_encoder_3=None if t5 is None else t5.network.module,
        tokenizer_3=None if t5 is None else t5.tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (3, 96, 128)])
@pytest.mark.parametrize("kind", ["with_t5", "without_t5", "dynamic"])
@pytest.mark.parametrize(("null", "guidance"), [("", 4.0), ("out of focus", 4.0), ("", 1.0)])
def test_samples_equal_those_of_the_pipeline_of_diffusers(
    folders, kind: str, shape: tuple[int, int, int], null: str, guidance: float
) -> None:
    prior = load(folders[kind])
    ours, start = sample(prior, 5, guidance, null, shape)
    theirs = _pipeline(folders[kind], prior)(
        PROMPTS, negative_prompt=[null] * 2, guidance_scale=guidance, num_inference_steps=5, latents=start,
        height=shape[1], width=shape[2], output_type="pt",
    ).images  # fmt: skip
    assert theirs.std() > 0.02, "a picture without content agrees with anything"
    difference = ((ours / 2 + 0.5).clamp(0, 1) - theirs).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("kind", ["with_t5", "without_t5"])
def test_treg_restores(folders, kind: str) -> None:
    check_treg(load(folders[kind]), steps=6, guidance=3.0)


def test_what_the_folder_says(folders) -> None:
    info = DiffusersFolder(path=str(folders["with_t5"])).info
    assert (info.kind, info.signal_shape, info.latent_channels, info.factor) == ("flow", (3, SIZE, SIZE), 16, 4)
    text = load(folders["with_t5"], t5_tokens=12).text.embed(PROMPTS)
    assert text.layout == info.text_layout
    assert text.tokens.shape == (2, 20 + 12, T5_WIDTH)
    assert text.pooled.shape == (2, sum(CLIP_WIDTHS))
    for span in text.layout.spans:
        assert text.tokens[:, span.rows, span.columns].abs().min() > 0
    assert text.layout.comparable(CLIP_WIDTHS[1]).rows == slice(0, 20)
    assert text.layout.comparable(T5_WIDTH) is None, "T5 was never compared with images"
    without = load(folders["without_t5"]).text.embed(PROMPTS)
    assert without.tokens.shape == (2, 20 + 256, T5_WIDTH)
    assert without.tokens[:, 20:].abs().max() == 0


def test_negation_moves_one_clip_tower_alone(folders) -> None:
    width = CLIP_WIDTHS[1]
    matrix = np.random.default_rng(0).standard_normal((3 * 8 * 8, width)).astype(np.float32)
    prior = with_image_text(load(folders["with_t5"], t5_tokens=12), LinearFeatures(matrix))
    AdaptiveNegation().check(prior.info)
    text = TextPolicy().start(prior, [{"prompt": prompt} for prompt in PROMPTS])
    x_y = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    moved = AdaptiveNegation(lr=1e-2).update(prior, text, step_state(x_y)).null.tokens - text.null.tokens
    own = moved[:, :20, CLIP_WIDTHS[0] : CLIP_WIDTHS[0] + width].clone()
    assert (own.abs() > 0.09).all()
    moved[:, :20, CLIP_WIDTHS[0] : CLIP_WIDTHS[0] + width] = 0
    assert moved.abs().max() == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_changes_little_and_gradients_pass(folders, precision: str) -> None:
    half, whole = (load(folders["with_t5"], precision=p, t5_tokens=12) for p in (precision, "fp32"))
    assert half.denoiser.network.dtype != torch.float32
    assert half.text.t5.network.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    z = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    level = whole.info.schedule.level(600)
    one, other = (p.predict(z, level, p.text.embed(PROMPTS)).z_0 for p in (half, whole))
    assert one.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.05 * other.abs().max()
    (gradient,), (expected,) = (torch.autograd.grad(x.square().sum(), z) for x in (one, other))
    assert 0 < (gradient - expected).norm() < 0.1 * expected.norm()


def test_checkpoints_give_the_same_gradients(folders) -> None:
    gradients = []
    for saving in (False, True):
        prior = load(folders["with_t5"], gradient_checkpointing=saving, t5_tokens=12)
        z = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
        at = prior.predict(z, prior.info.schedule.level(600), prior.text.embed(["a cat"]))
        prior.decode(at.z_0).square().sum().backward()
        gradients.append(z.grad)
    assert prior.denoiser.network.module.is_gradient_checkpointing
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
