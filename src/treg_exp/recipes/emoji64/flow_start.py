"""A trained diffusion network as the start, and at first the teacher, of a rectified flow.

The velocity that a diffusion network implies is known at every level (see ``priors/as_flow.py``), but its formula has
more than a network alone: z is scaled, the time is another one, and a share of z that depends on the time is added.
What can be done about it without a training is done here in closed form; the rest is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from treg_exp.recipes.emoji64.denoising import denoise
from treg_exp.schedule.levels import Kind, Level
from treg_exp.schedule.ratios import level_of_ratio
from treg_exp.schedule.variance_preserving import VariancePreserving

FLOW_TIMES = 1000  # the time that a flow's network is told at pure noise
GRID = 1000  # places between s = 0 and 1 at which the diffusion network's time is looked up
LEAST = 1e-4  # smallest s of the grid: nothing is asked below it
RIDGE = 1e-4  # of the fits, times the mean square of a feature; 1e-6 gives weights that half precision cannot hold
Forward = Callable[..., tuple[Tensor, Tensor]]


class DiffusionVelocity:
    """eps - z_0 as a diffusion network estimates them at (1 - s) z_0 + s eps: ``FlowDenoiser`` for one s per sample.

    Args:
        network: of `build_denoiser`, trained; it is only read.
        prediction: what it predicts.
        schedule: what it was trained on.
    """

    def __init__(self, network: UNet2DConditionModel, prediction: Kind, schedule: VariancePreserving) -> None:
        self.network, self.prediction = network, prediction
        last = schedule.alphas_cumprod[-1]
        self.most = math.sqrt((1 - last) / last)
        levels = [level_of_ratio(schedule, self._ratio(max(k / GRID, LEAST))) for k in range(GRID + 1)]
        self.told = torch.tensor([float(level.t) for level in levels])

    def __deepcopy__(self, memo: dict[int, object]) -> DiffusionVelocity:
        """Itself: nothing of it is trained."""
        return self

    def _ratio(self, s: float) -> float:
        return min(self.most, s / (1 - s)) if s < 1 else self.most

    def times(self, s: Tensor) -> Tensor:
        """What the diffusion network is told at s, (B,) in [0, 1]."""
        place = s.clamp(0.0, 1.0) * GRID
        below = place.long().clamp(max=GRID - 1)
        told = self.told.to(s.device)
        return torch.lerp(told[below], told[below + 1], place - below)

    def __call__(self, forward: Forward, z: Tensor, s: Tensor, text: Tensor) -> Tensor:
        """The velocity.

        Args:
            forward: `denoise`, compiled or not.
            z: (B, 4, 16, 16) latents of the flow.
            s: (B,) their shares of noise, > 0.
            text: (B, L, 128) token embeddings.
        """
        share = s.view(-1, 1, 1, 1)
        ratio = (share / (1 - share).clamp(min=1e-6)).clamp(max=self.most)
        alpha = (1 + ratio.square()).rsqrt()
        level = Level(self.times(s), alpha, ratio * alpha)
        scaled = (z * (level.sigma / share)).contiguous(memory_format=torch.channels_last)
        output, _ = forward(self.network, scaled, level.t, text)
        velocity: Tensor = (z - level.predict(output.float(), scaled, self.prediction).z_0) / share
        return velocity


@torch.no_grad()
def begin_as_flow(network: UNet2DConditionModel, velocity: DiffusionVelocity) -> None:
    """Change a copy of the diffusion network so that it can be told 1000 s and be given latents of a flow.

    The last layer of the time embedding is fitted (least squares over all s), so that 1000 s is heard as the matching
    time of the diffusion model: of the shipped one 0.05 % of the variance are left. The first convolution makes up for
    the mean of sqrt((1 - s)^2 + s^2), by which latents of a flow are smaller.

    Args:
        network: with the diffusion network's weights; changed in place.
        velocity: of the diffusion network.
    """
    s = (torch.arange(GRID) + 0.5) / GRID
    embedding: Any = network.time_embedding
    # All networks of `build_denoiser` have this embedding: two layers with one activation between them.
    wanted = embedding(network.time_proj(velocity.times(s)))
    features = embedding.act(embedding.linear_1(network.time_proj(s * FLOW_TIMES)))
    _fit(embedding.linear_2, features, wanted)
    network.conv_in.weight.mul_(((1 - s).square() + s.square()).rsqrt().mean().item())


@torch.no_grad()
def fit_output(
    network: UNet2DConditionModel, velocity: DiffusionVelocity, z: Tensor, s: Tensor, text: Tensor, part: int = 64
) -> None:
    """Fit the last convolution to the diffusion network's velocity by least squares; nothing before it changes.

    Args:
        network: see `begin_as_flow`; changed in place.
        velocity: of the diffusion network.
        z: (N, 4, 16, 16) latents of the flow.
        s: (N,) their shares of noise.
        text: (N, L, 128) token embeddings.
        part: samples at a time.
    """
    read: list[Tensor] = []
    hook = network.conv_out.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].float()))
    wanted = []
    for k in range(0, len(z), part):
        own = slice(k, k + part)
        wanted.append(velocity(denoise, z[own], s[own], text[own]))
        noisy = z[own].contiguous(memory_format=torch.channels_last)
        denoise(network, noisy, s[own] * FLOW_TIMES, text[own])
    hook.remove()
    convolution = network.conv_out
    size, padding = convolution.kernel_size, convolution.padding
    patches = F.unfold(torch.cat(read).contiguous(), size, padding=padding).transpose(1, 2).flatten(0, 1)
    _fit(convolution, patches, torch.cat(wanted).flatten(2).transpose(1, 2).flatten(0, 1))


def _fit(layer: Any, features: Tensor, wanted: Tensor) -> None:
    """Weight and bias of a linear layer, or of a convolution that reads unfolded patches, from (N, in) to (N, out)."""
    rows = torch.cat([features, features.new_ones(len(features), 1)], 1).double()
    matrix = rows.T @ rows
    matrix.diagonal().add_(RIDGE * matrix.diagonal().mean())
    found = torch.linalg.solve(matrix, rows.T @ wanted.double())
    layer.weight.copy_(found[:-1].T.reshape(layer.weight.shape))
    layer.bias.copy_(found[-1])
