"""Small random folders of the kinds beyond Stable Diffusion: waveforms, pixels, SD 3 and Flux.

Each is written by the ``save_pretrained`` of the classes that the real ones are saved by, and loads through
``prior=diffusers_dir``. Those of the Stable Diffusion family are in ``backbones.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet1DModel,
    UNet2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from treg_exp.priors.small import byte_pair_tokenizer

SIZE = 64  # pixels of SD 3 and Flux: latents of 16 x 16, 8 x 8 tokens
CLIP_WIDTHS = (16, 24)  # of the hidden states of CLIP-L and CLIP-G
T5_WIDTH = 48


def write_waveform(folder: Path, *, length: int = 4096, channels: int = 1, scheduler: Any = None, **unet: Any) -> Path:
    """A ``UNet1DModel`` of (channels, length) waveforms, with `ddim` unless a scheduler is given.

    ``unet`` overrides settings of the network.
    """
    torch.manual_seed(1)
    settings = {
        "sample_size": length, "sample_rate": 16000, "in_channels": channels, "out_channels": channels,
        "block_out_channels": (8, 32, 32), "extra_in_channels": 16,
    }  # fmt: skip
    UNet1DModel(**{**settings, **unet}).save_pretrained(folder / "unet")
    return _finished(folder, "DanceDiffusionPipeline", scheduler or ddim())


def write_pixel(folder: Path, *, size: int = 32, scheduler: Any = None, **unet: Any) -> Path:
    """A ``UNet2DModel`` of (3, size, size) images; ``unet`` overrides settings of the network."""
    torch.manual_seed(2)
    settings = {
        "sample_size": size, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
    }  # fmt: skip
    UNet2DModel(**{**settings, **unet}).save_pretrained(folder / "unet")
    return _finished(folder, "DDIMPipeline", scheduler or ddim())


def write_sd3(folder: Path, *, t5: bool = True, scheduler: Any = None) -> Path:
    """Stable Diffusion 3: two CLIP towers, and a T5 unless it is left out."""
    torch.manual_seed(3)
    for suffix, width in zip(("", "_2"), CLIP_WIDTHS, strict=True):
        _clip(folder, suffix, width, CLIPTextModelWithProjection)
    if t5:
        _t5(folder, "_3")
    SD3Transformer2DModel(
        sample_size=SIZE // 4, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=T5_WIDTH, caption_projection_dim=32, pooled_projection_dim=sum(CLIP_WIDTHS),
        pos_embed_max_size=24,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    _autoencoder(1.5305, 0.0609).save_pretrained(folder / "vae")
    return _finished(folder, "StableDiffusion3Pipeline", scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0))


def write_flux(folder: Path, *, guidance: bool = True, scheduler: Any = None) -> Path:
    """Flux: pooled CLIP and a T5; ``guidance`` says whether the network is told a guidance scale."""
    torch.manual_seed(4)
    _clip(folder, "", CLIP_WIDTHS[0], CLIPTextModel)
    _t5(folder, "_2")
    FluxTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=T5_WIDTH, pooled_projection_dim=CLIP_WIDTHS[0], guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    ).save_pretrained(folder / "transformer")  # fmt: skip
    _autoencoder(0.3611, 0.1159).save_pretrained(folder / "vae")
    own = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_image_seq_len=16, max_image_seq_len=256
    )
    return _finished(folder, "FluxPipeline", scheduler or own)


def ddim(**settings: Any) -> DDIMScheduler:
    """The schedule of pixel-space DDPMs, as diffusers' own folders have it, without clipping."""
    return DDIMScheduler(**{"clip_sample": False, "set_alpha_to_one": True, **settings})


def _finished(folder: Path, pipeline: str, scheduler: Any) -> Path:
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return folder


def _clip(folder: Path, suffix: str, width: int, model: Any) -> None:
    tokenizer = byte_pair_tokenizer([], 20)
    tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
    model(CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=20, hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=2, num_attention_heads=2, projection_dim=width, pad_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )).save_pretrained(folder / f"text_encoder{suffix}")  # fmt: skip


def _t5(folder: Path, suffix: str) -> None:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
    T5EncoderModel(T5Config(
        vocab_size=len(tokenizer), d_model=T5_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu",
    )).save_pretrained(folder / f"text_encoder{suffix}")  # fmt: skip


def _autoencoder(scale: float, shift: float) -> AutoencoderKL:
    """Sixteen channels, shifted, and without the convolutions around the latent, as both kinds have it."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8), layers_per_block=1, latent_channels=16, norm_num_groups=4, sample_size=SIZE,
        scaling_factor=scale, shift_factor=shift, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
