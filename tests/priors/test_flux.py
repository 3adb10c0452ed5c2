"""Flux gives the numbers of diffusers' own pipeline, told a guidance scale or not, and runs through TReg."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

from tests.priors.folders import CLIP_WIDTHS, SIZE, T5_WIDTH, write_flux
from tests.priors.sampling import PROMPTS, check_treg, load, sample
from treg_exp.priors.denoisers.flux import packed, places, unpacked
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior

STEADY = FlowMatchEulerDiscreteScheduler(shift=1.0)  # as FLUX.1-schnell


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "dev": write_flux(tmp_path_factory.mktemp("dev")),
        "schnell": write_flux(tmp_path_factory.mktemp("schnell"), guidance=False, scheduler=STEADY),
    }


def _pipeline(folder: Path, prior: Prior) -> FluxPipeline:
    pipe = FluxPipeline(
        transformer=prior.denoiser.network.module, vae=prior.codec.network.module, text_encoder=prior.text.clip,
        tokenizer=prior.text.tokenizer, text_encoder_2=prior.text.t5.network.module,
        tokenizer_2=prior.text.t5.tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (3, 96, 128)])
@pytest.mark.parametrize(
    ("kind", "told", "guidance"), [("dev", None, 1.0), ("dev", 7.0, 1.0), ("dev", 1.0, 3.0), ("schnell", None, 1.0)]
)
def test_samples_equal_those_of_the_pipeline_of_diffusers(
    folders, kind: str, told: float | None, guidance: float, shape: tuple[int, int, int]
) -> None:
    """``told`` is the scale that the network is told, ``guidance`` that of two network calls."""
    prior = load(folders[kind], embedded_guidance=told)
    ours, start = sample(prior, 5, guidance, "out of focus", shape)
    theirs = _pipeline(folders[kind], prior)(
        PROMPTS, negative_prompt=["out of focus"] * 2, true_cfg_scale=guidance, num_inference_steps=5,
        guidance_scale=3.5 if told is None else told, latents=packed(start), height=shape[1], width=shape[2],
        output_type="pt",
    ).images  # fmt: skip
    assert theirs.std() > 0.02, "a picture without content agrees with anything"
    difference = ((ours / 2 + 0.5).clamp(0, 1) - theirs).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("kind", ["dev", "schnell"])
def test_treg_restores(folders, kind: str) -> None:
    check_treg(load(folders[kind]), steps=6, guidance=2.0)


def test_the_scale_matters_where_it_is_told(folders) -> None:
    z = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    differences = {}
    for kind, folder in folders.items():
        weak, strong = (load(folder, embedded_guidance=scale, t5_tokens=8) for scale in (1.0, 8.0))
        level, text = weak.info.schedule.level(500), weak.text.embed(["a cat"])
        differences[kind] = (weak.predict(z, level, text).eps - strong.predict(z, level, text).eps).abs().max()
    assert differences["dev"] > 1e-3
    assert differences["schnell"] == 0


def test_what_the_folder_says(folders) -> None:
    info = DiffusersFolder(path=str(folders["dev"])).info
    assert (info.kind, info.signal_shape, info.latent_channels, info.factor) == ("flow", (3, SIZE, SIZE), 16, 4)
    text = load(folders["dev"], t5_tokens=12).text.embed(PROMPTS)
    assert text.layout == info.text_layout
    assert (text.tokens.shape, text.pooled.shape) == ((2, 12, T5_WIDTH), (2, CLIP_WIDTHS[0]))
    assert text.layout.comparable(T5_WIDTH) is None
    assert load(folders["dev"]).text.embed(PROMPTS).tokens.shape == (2, 512, T5_WIDTH)


def test_packing_is_that_of_the_pipeline() -> None:
    z = torch.randn(2, 16, 6, 8, generator=torch.Generator().manual_seed(0))
    tokens = packed(z)
    assert torch.equal(tokens, FluxPipeline._pack_latents(z, 2, 16, 6, 8))
    assert torch.equal(unpacked(tokens, 3, 4), z)
    theirs = FluxPipeline._prepare_latent_image_ids(2, 3, 4, torch.device("cpu"), torch.float32)
    assert torch.equal(places(3, 4), theirs)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_changes_little_and_gradients_pass(folders, precision: str) -> None:
    half, whole = (load(folders["dev"], precision=p, t5_tokens=12) for p in (precision, "fp32"))
    assert half.denoiser.network.dtype != torch.float32
    z = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    level = whole.info.schedule.level(600)
    one, other = (p.predict(z, level, p.text.embed(PROMPTS)).z_0 for p in (half, whole))
    assert one.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.05 * other.abs().max()
    (gradient,), (expected,) = (torch.autograd.grad(x.square().sum(), z) for x in (one, other))
    assert 0 < (gradient - expected).norm() < 0.1 * expected.norm()
