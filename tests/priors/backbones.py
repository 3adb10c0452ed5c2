"""Small random folders of every kind of backbone, made with the classes that the real ones are saved by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from treg_exp.priors.small import byte_pair_tokenizer

KINDS = ("sd15", "sd21_base", "sd21", "sdxl", "lcm", "turbo")
SIZE = 64  # pixels; latents are 8 x 8, as autoencoder and denoiser halve three and two times
SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def write_backbone(kind: str, folder: Path, *, without_text_is_zero: bool = True) -> Path:
    """Write one of `KINDS`; SD 1.5 and 2.1 differ in their text towers, prediction and scheduler."""
    torch.manual_seed(KINDS.index(kind))
    widths = {"sdxl": (16, 24)}.get(kind, (32,) if kind.startswith("sd2") else (24,))
    for part, (width, model) in enumerate(zip(widths, (CLIPTextModel, CLIPTextModelWithProjection), strict=False)):
        _text(folder, "" if part == 0 else "_2", width, model)
    _unet(kind, sum(widths), widths[-1]).save_pretrained(folder / "unet")
    _vae(kind).save_pretrained(folder / "vae")
    _scheduler(kind).save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionXLPipeline" if kind == "sdxl" else "StableDiffusionPipeline"}
    if kind == "sdxl":
        index["force_zeros_for_empty_prompt"] = without_text_is_zero
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _text(folder: Path, suffix: str, width: int, model: Any) -> None:
    tokenizer = byte_pair_tokenizer([], 20)
    tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=20, hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=2, num_attention_heads=2, projection_dim=width, pad_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model(config).save_pretrained(folder / f"text_encoder{suffix}")


def _unet(kind: str, text_width: int, pooled_width: int) -> UNet2DConditionModel:
    own: dict[str, Any] = {}
    if kind == "sdxl":  # six numbers of size and crop, four channels each, beside the pooled text
        own = {
            "addition_embed_type": "text_time", "addition_time_embed_dim": 4, "transformer_layers_per_block": 2,
            "projection_class_embeddings_input_dim": 6 * 4 + pooled_width,
        }  # fmt: skip
    if kind == "lcm":
        own = {"time_cond_proj_dim": 32}
    if kind.startswith("sd2"):
        own = {"use_linear_projection": True}
    return UNet2DConditionModel(
        sample_size=SIZE // 8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text_width, attention_head_dim=8, norm_num_groups=8, **own,
    )  # fmt: skip


def _vae(kind: str) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=SIZE,
        scaling_factor=0.13025 if kind == "sdxl" else 0.18215,
    )  # fmt: skip


def _scheduler(kind: str) -> Any:
    ddim = {**SD, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    if kind == "sd21":
        return DDIMScheduler(**ddim, prediction_type="v_prediction")
    if kind == "sdxl":
        return EulerDiscreteScheduler(**SD, timestep_spacing="leading", steps_offset=1)
    if kind == "lcm":
        return LCMScheduler(**ddim)
    if kind == "turbo":
        return EulerDiscreteScheduler(**SD, timestep_spacing="trailing")
    return DDIMScheduler(**ddim)
