"""Options of a folder that trade memory, speed and exactness."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.priors.backbones import write_backbone
from tests.priors.sampling import PROMPTS, load
from treg_exp.priors.counting import counted
from treg_exp.priors.stacked import for_signals
from treg_exp.schedule.levels import Level

LEVEL = Level(300, 0.7, 0.7)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_backbone(kind, tmp_path_factory.mktemp(kind)) for kind in ("sd15", "sdxl")}


def test_float16_leaves_the_autoencoder_of_sdxl_alone(folders) -> None:
    one, xl = (load(folders[kind], precision="fp16") for kind in ("sd15", "sdxl"))
    assert xl.codec.network.half is None
    assert one.codec.network.half == torch.float16
    assert {p.dtype for p in xl.denoiser.network.module.parameters()} == {torch.float16}


def test_memory_savers_change_what_they_may(folders) -> None:
    """Slices and checkpoints give the same numbers, gradients too; tiles differ at their seams."""
    plain = load(folders["sd15"])
    saving = load(folders["sd15"], vae_slicing=True, gradient_checkpointing=True)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = plain.text.embed(PROMPTS)
    gradients = []
    for prior in (plain, saving):
        own = z.clone().requires_grad_()
        prior.decode(prior.predict(own, LEVEL, text).z_0).square().sum().backward()
        gradients.append(own.grad)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-3 * gradients[0].abs().max()
    assert saving.codec.network.module.use_slicing
    assert saving.codec.network.module.is_gradient_checkpointing
    assert saving.denoiser.network.module.is_gradient_checkpointing


def test_tiles_are_smaller_than_the_image_at_its_own_size(folders) -> None:
    plain, tiled = (load(folders["sd15"], vae_tiling=t) for t in (False, True))
    side = plain.info.signal_shape[-1]
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []
    for part in (tiled.codec.network.module.encoder, tiled.codec.network.module.decoder):
        part.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
    z, image = tiled.encode(x), tiled.decode(plain.encode(x))
    assert max(seen) == side // 2
    for a, b in ((z, plain.encode(x)), (image, plain.decode(plain.encode(x)))):
        assert a.shape == b.shape
        assert (a - b).abs().max() > 0  # how much, a random autoencoder does not tell: it normalises over the tile


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_prior_computes_in_float32_for_a_while(folders, wrapped: bool) -> None:
    """Also where its parts are counted and stacked: a second try must not run in half precision again."""
    prior = load(folders["sd15"], precision="bf16")
    assert prior.in_half_precision
    inner = prior.denoiser.network
    if wrapped:
        prior = for_signals(counted(prior)[0], (2, 3, 64, 64))
    assert prior.in_half_precision
    with prior.in_float32():
        assert not prior.in_half_precision
        assert (inner.half, inner.dtype) == (None, torch.float32)
    assert prior.in_half_precision
    assert inner.dtype == torch.bfloat16
