"""The untrained networks of the four stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from treg_exp.metrics.networks.judge import Judge
from treg_exp.recipes.emoji64.vocabulary import MAX_LENGTH

LATENT_CHANNELS = 4
SIDE = 64  # pixels of a picture
POOLED_TEXT_GAIN = 0.3  # of the pooled text beside the time embedding at the start: heard, but not louder


def build_autoencoder(widths: Sequence[int] = (24, 32, 64)) -> AutoencoderKL:
    """From 64 x 64 x 3 to 16 x 16 x 4: three levels make a factor of four.

    Args:
        widths: channels per level, fine to coarse.
    """
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIDE,
    )
    silence_residual_branches(network)
    # A posterior that starts with unit deviation drowns the first hundreds of steps in noise.
    torch.nn.init.constant_(network.quant_conv.bias[LATENT_CHANNELS:], -6.0)
    return network


class TwoTowers(nn.Module):
    """The text encoder, the image encoder and the learnt temperature.

    There is no text projection: the pooled text output itself is the feature. Token embeddings, which the
    denoiser attends to, therefore live in the same space as image features. The image tower is a ConvNeXt (Liu et
    al., arXiv 2201.03545) whose last stage is as wide as that space: on ten thousand pictures a transformer on
    patches of 8 x 8 found 52 % of held-out names among the first five after 42 minutes, this one 71 % after 50.

    Args:
        tokenizer: its vocabulary and special tokens.
        width: of the token embeddings, of the shared space, and of the denoiser's cross-attention.
        image_widths: of the image tower's stages before the last.
        text_layers: of the text tower.
    """

    def __init__(
        self, tokenizer: Any, width: int = 128, image_widths: Sequence[int] = (48, 96, 192), text_layers: int = 3
    ) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel, ConvNextConfig, ConvNextModel

        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=4 * width,
                projection_dim=width,
                num_hidden_layers=text_layers,
                num_attention_heads=4,
                max_position_embeddings=MAX_LENGTH,
                hidden_act="quick_gelu",
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
            )
        )
        self.image_encoder = ConvNextModel(
            ConvNextConfig(
                hidden_sizes=[*image_widths, width],
                depths=[2, 2, 4, 1],
                patch_size=4,
                image_size=SIDE,
                layer_scale_init_value=0.1,
            )
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / 0.07)))

    def text_features(self, tokens: Tensor) -> Tensor:
        """Unit vectors of prompts.

        Args:
            tokens: (B, L) int64, padded.

        Returns:
            (B, 128) float32.
        """
        return F.normalize(self.text_encoder(tokens).pooler_output.float(), dim=-1)

    def image_features(self, images: Tensor) -> Tensor:
        """Unit vectors of pictures.

        Args:
            images: (B, 3, H, W) in [-1, 1]; this is what the mean and deviation of 0.5 for [0, 1] amount to. 64
                pixels a side in use; training starts with smaller ones.

        Returns:
            (B, 128) float32.
        """
        return F.normalize(self.image_encoder(images).pooler_output.float(), dim=-1)


class Classifier(nn.Module):
    """The judge with the learnt temperature of its training.

    Args:
        width: of the shared space.
        channels: of the four resolutions of the image tower.
        blocks: residual blocks at each resolution.
    """

    def __init__(
        self, width: int = 128, channels: Sequence[int] = (32, 64, 128, 256), blocks: Sequence[int] = (1, 1, 2, 2)
    ) -> None:
        super().__init__()
        self.judge = Judge(width, channels, blocks)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))


def build_denoiser(widths: Sequence[int] = (64, 128, 256), text_width: int = 128) -> UNet2DConditionModel:
    """For 16 x 16 latents; attention on the two coarser levels.

    The text speaks twice: through cross-attention, as in Stable Diffusion, and pooled into the time embedding
    (``addition_embed_type="text"``), which reaches every residual block. With cross-attention alone the samples of
    60,000 pictures of training hardly depended on the prompt.

    Args:
        widths: channels of the three levels, fine to coarse.
        text_width: of the token embeddings.
    """
    return _text_unet(16, LATENT_CHANNELS, widths, text_width)


def build_pixel_denoiser(
    widths: Sequence[int] = (48, 64, 96), text_width: int = 128, side: int = 64, patch: int = 2
) -> UNet2DConditionModel:
    """For pictures themselves; attention on the two coarser levels, and the text heard as in `build_denoiser`.

    Args:
        widths: channels of the three levels, fine to coarse; multiples of 16.
        text_width: of the token embeddings.
        side: pixels of a picture.
        patch: side of the patches of pixels that are channels of one place of the network.
    """
    return _text_unet(side // patch, 3 * patch**2, widths, text_width, norm_groups=16)


def _text_unet(
    side: int, channels: int, widths: Sequence[int], text_width: int, norm_groups: int = 32
) -> UNet2DConditionModel:
    """A small U-Net that hears the text twice, and begins as nearly the identity."""
    network = UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(widths),
        layers_per_block=1,
        norm_num_groups=norm_groups,
        cross_attention_dim=text_width,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )
    silence_residual_branches(network)
    torch.nn.init.constant_(network.add_embedding.norm2.weight, POOLED_TEXT_GAIN)
    return network


@torch.no_grad()
def silence_residual_branches(network: nn.Module) -> None:
    """Start every residual block of a diffusers network as the identity.

    A network that is shallow at first learns the coarse things within tens of steps instead of hundreds.

    Args:
        network: changed in place.
    """
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".to_out.0", ".proj_out")):
            for parameter in module.parameters():
                parameter.zero_()
