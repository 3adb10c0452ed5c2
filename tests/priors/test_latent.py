"""Loading a diffusers folder, and the arithmetic around its networks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import DATA
from tests.priors.sampling import load
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.precision import autocast_dtype, has_fast_bf16
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level

TINY = DATA / "parity" / "tiny_model"
LEVEL = Level(300, 0.6, 0.8)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _network(prior: Prior, part: str) -> Any:
    return getattr(prior, part).network.module


def test_matches_diffusers(tiny_prior: Prior, x) -> None:
    """Encoder, decoder and network agree with the diffusers classes called by hand."""
    vae, unet = _network(tiny_prior, "codec"), _network(tiny_prior, "denoiser")
    scale = vae.config.scaling_factor
    posterior = vae.encode(x).latent_dist
    torch.testing.assert_close(tiny_prior.encode(x), posterior.mean * scale)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tiny_prior.encode(x, noise), (posterior.mean + posterior.std * noise) * scale)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(tiny_prior.decode(z), vae.decode(z / scale).sample)
    text = tiny_prior.text.embed(["a cat", ""])
    expected = unet(z, 300, encoder_hidden_states=text.tokens).sample
    at = tiny_prior.predict(z, LEVEL, text)
    torch.testing.assert_close(at.eps, expected)
    torch.testing.assert_close(0.6 * at.z_0 + 0.8 * at.eps, z)


def test_what_the_configuration_files_say(tiny_prior: Prior) -> None:
    info = DiffusersFolder(path=str(TINY)).info
    assert (info.signal_shape, info.text_layout.widths, info.feature_width) == ((3, 512, 512), (32,), None)
    assert (info.latent_channels, info.factor, info.medium) == (4, 8, "image")
    assert info.text_layout == tiny_prior.text.layout
    assert tiny_prior.empty_latent(torch.empty(3, 3, 64, 64)).shape == (3, 4, 8, 8)
    for check in (info.latent_shape, lambda shape: tiny_prior.empty_latent(torch.empty(1, *shape))):
        with pytest.raises(ValueError, match="multiples of 16"):
            check((3, 40, 40))


def test_gradients_reach_the_latent(tiny_prior: Prior) -> None:
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    text = tiny_prior.text.embed(["a cat"])
    tiny_prior.decode(tiny_prior.predict(z, LEVEL, text).z_0).square().sum().backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 0
    assert all(p.grad is None for p in _network(tiny_prior, "denoiser").parameters())


def test_v_prediction_is_converted(tiny_prior: Prior, tmp_path: Path) -> None:
    """The same weights under a v-prediction schedule: eps = alpha v + sigma z, z_0 = alpha z - sigma v."""
    shutil.copytree(TINY, tmp_path / "v")
    config = tmp_path / "v" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"v_prediction"'))
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = tiny_prior.text.embed(["a cat"])
    v = tiny_prior.predict(z, LEVEL, text).eps
    at = load(tmp_path / "v").predict(z, LEVEL, text)
    torch.testing.assert_close(at.eps, 0.6 * v + 0.8 * z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(at.z_0, 0.6 * z - 0.8 * v, rtol=1e-4, atol=1e-5)


def test_precision_follows_the_hardware(x) -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) == torch.bfloat16
    assert (autocast_dtype("auto", cpu) == torch.bfloat16) == has_fast_bf16(cpu)
    half, whole = load(TINY, precision="bf16"), load(TINY)
    z, text = whole.encode(x), whole.text.embed(["a cat", "a dog"])
    for a, b in (
        (half.encode(x), z),
        (half.decode(z), whole.decode(z)),
        (half.predict(z, LEVEL, text).eps, whole.predict(z, LEVEL, text).eps),
    ):
        assert a.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.05 * b.abs().max()


@pytest.mark.parametrize(("precision", "seen"), [("fp32", "ieee"), ("bf16", "tf32")])
def test_float32_is_meant_in_full(x, precision: str, seen: str) -> None:
    """cuDNN convolves float32 in TF32 by default; inside every network of a float32 prior it must not."""
    convolutions: Any = torch.backends.cudnn.conv
    assert convolutions.fp32_precision == "tf32"
    prior = load(TINY, precision=precision)
    found: list[str] = []
    vae = _network(prior, "codec")
    for network in (vae.encoder, vae.decoder, _network(prior, "denoiser")):
        network.register_forward_pre_hook(lambda *_: found.append(convolutions.fp32_precision))
    z = prior.encode(x)
    prior.decode(z)
    prior.predict(z, LEVEL, prior.text.embed(["a cat", "a dog"]))
    assert found == [seen] * 3
    assert convolutions.fp32_precision == "tf32"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_shipped_prior_in_half_precision(precision: str) -> None:
    """Its denoiser has a LayerNorm over the text itself, which no other kind has; gradients reach latent and text."""
    half, whole = load("emoji64", precision=precision), load("emoji64")
    z = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    text = whole.text.embed(["a cat", "a dog"])
    tokens = text.tokens.clone().requires_grad_()
    eps, expected = (prior.predict(z, LEVEL, text.with_tokens(tokens)).eps for prior in (half, whole))
    assert 0 < (eps - expected).abs().max() < 0.05 * expected.abs().max()
    for a, b in zip(*(torch.autograd.grad(e.square().sum(), (z, tokens)) for e in (eps, expected)), strict=True):
        assert 0 < (a - b).norm() < 0.1 * b.norm()
