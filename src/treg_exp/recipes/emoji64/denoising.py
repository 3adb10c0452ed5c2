"""The loss of the denoiser: at which times, with which weights, and what makes a step fast."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from treg_exp.schedule.levels import Kind

TRAINABLE = ("epsilon", "v_prediction")


def denoise(network: UNet2DConditionModel, noisy: Tensor, times: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """The forward pass of a denoiser, with what lies in its middle.

    The same as ``network(noisy, times, text).sample``, for networks of `build_denoiser`. diffusers returns no features,
    and a hook would have to keep those of several threads apart.

    Args:
        network: of `build_denoiser`.
        noisy: (B, 4, 16, 16) z_t.
        times: (B,) int64, 0 to 999.
        text: (B, L, 128) token embeddings.

    Returns:
        Output (B, 4, 16, 16) and features of the middle block (B, 256, 4, 4).
    """
    time = network.time_embedding(network.get_time_embed(sample=noisy, timestep=times))
    time = time + network.get_aug_embed(emb=time, encoder_hidden_states=text, added_cond_kwargs={})
    hidden = network.conv_in(noisy)
    skips: tuple[Tensor, ...] = (hidden,)
    for block in network.down_blocks:
        reads = {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
        hidden, further = block(hidden_states=hidden, temb=time, **reads)
        skips += further
    hidden = middle = network.mid_block(hidden, time, encoder_hidden_states=text)
    for block in network.up_blocks:
        own, skips = skips[-len(block.resnets) :], skips[: -len(block.resnets)]
        reads = {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
        hidden = block(hidden_states=hidden, temb=time, res_hidden_states_tuple=own, **reads)
    output: Tensor = network.conv_out(network.conv_act(network.conv_norm_out(hidden)))
    return output, middle


def weighted_error(
    output: Tensor,
    latents: Tensor,
    noise: Tensor,
    signal: Tensor,
    prediction: Kind,
    snr_range: Sequence[float],
) -> Tensor:
    """Mean squared error of the z_0 that a network's output implies, weighted with the clamped signal-to-noise ratio.

    Args:
        output: (B, c, h, w) of the network.
        latents: (B, c, h, w) z_0.
        noise: (B, c, h, w) that was added.
        signal: (B, 1, 1, 1) cumulative alphas.
        prediction: one of `TRAINABLE`.
        snr_range: least and largest weight.
    """
    a, s, snr = signal.sqrt(), (1.0 - signal).sqrt(), (signal / (1.0 - signal)).view(-1)
    # z_0 = (z_t - s eps) / a = a z_t - s v: its squared error is 1 / SNR or 1 - signal times that of the output.
    if prediction == "epsilon":
        target, of_z_0 = noise, 1.0 / snr
    else:
        target, of_z_0 = a * noise - s * latents, 1.0 / (1.0 + snr)
    error = F.mse_loss(output, target, reduction="none").mean(dim=(1, 2, 3))
    loss: Tensor = (snr.clamp(*snr_range) * of_z_0 * error).mean()
    return loss


def strata(count: int, generator: torch.Generator) -> Tensor:
    """Uniform draws, one from each of `count` equal parts of (0, 1), in order.

    Every batch then covers the whole schedule, which halves the noise of the loss.

    Args:
        count: how many draws.
        generator: source of the draws; they lie on its device.
    """
    drawn = torch.rand(count, generator=generator, device=generator.device).clamp(1e-3, 1.0 - 1e-3)
    return (torch.arange(count, device=drawn.device) + drawn) / count


def logit_normal(uniform: Tensor, focus: Sequence[float]) -> Tensor:
    """Uniform draws as draws of a logit-normal density (Esser et al., arXiv 2403.03206).

    Args:
        uniform: in (0, 1), any shape.
        focus: median of the density, and its spread in logits.
    """
    median, spread = focus
    return torch.sigmoid(math.log(median / (1.0 - median)) + spread * torch.special.ndtri(uniform))


def suit_bf16_on_cpus(network: UNet2DConditionModel) -> None:
    """Keep a denoiser fast under bfloat16 autocast on a CPU; what it computes stays the same up to rounding.

    Two operators of torch are slower in bfloat16 than in float32: the backward pass of its fused attention (a quarter
    of a step) and group normalisation. With AVX512-BF16 one core does 47 pictures/s instead of 30; float32: 22.

    Args:
        network: changed in place.
    """
    network.set_attn_processor(AttnProcessor())
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
