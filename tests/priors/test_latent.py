"""Loading a diffusers folder, and the arithmetic around its networks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import DATA
from treg_exp.priors.info import read_prior_info
from treg_exp.priors.loading import load_prior
from treg_exp.priors.precision import autocast_dtype, has_fast_bf16
from treg_exp.schedule import Point

TINY = DATA / "parity" / "tiny_model"


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_matches_diffusers(tiny_prior, x) -> None:
    """Encoder, decoder and network agree with the diffusers classes called by hand."""
    scale = tiny_prior.vae.config.scaling_factor
    posterior = tiny_prior.vae.encode(x).latent_dist
    torch.testing.assert_close(tiny_prior.encode(x), posterior.mean * scale)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tiny_prior.encode(x, noise), (posterior.mean + posterior.std * noise) * scale)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(tiny_prior.decode(z), tiny_prior.vae.decode(z / scale).sample)
    text = tiny_prior.embed(["a cat", ""])
    expected = tiny_prior.unet(z, 300, encoder_hidden_states=text).sample
    torch.testing.assert_close(tiny_prior.predict(z, Point(300, 0.5), text), expected)


def test_what_the_configuration_files_say(tiny_prior) -> None:
    info = read_prior_info(str(TINY))
    assert (info.image_size, info.text_layout.widths, info.feature_width) == (512, (32,), None)
    assert info.image_size == tiny_prior.image_size
    assert tiny_prior.empty_latent(3, (3, 64, 64)).shape == (3, 4, 8, 8)
    for check in (info.check_size, lambda size: tiny_prior.empty_latent(1, (3, size, size))):
        with pytest.raises(ValueError, match="multiples of 16"):
            check(40)


def test_gradients_reach_the_latent(tiny_prior) -> None:
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    text = tiny_prior.embed(["a cat"])
    tiny_prior.decode(tiny_prior.predict(z, Point(300, 0.5), text)).square().sum().backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 0
    assert all(p.grad is None for p in tiny_prior.unet.parameters())


def test_v_prediction_is_converted(tiny_prior, tmp_path: Path) -> None:
    """The same weights under a v-prediction schedule: eps = sqrt(ab) v + sqrt(1 - ab) z."""
    shutil.copytree(TINY, tmp_path / "v")
    config = tmp_path / "v" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"v_prediction"'))
    z, point = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), Point(300, 0.36)
    text = tiny_prior.embed(["a cat"])
    v = tiny_prior.predict(z, point, text)
    eps = load_prior(str(tmp_path / "v"), precision="fp32").predict(z, point, text)
    torch.testing.assert_close(eps, 0.6 * v + 0.8 * z, rtol=1e-4, atol=1e-5)


def test_missing_weights_are_listed(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "half")
    (tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"missing unet/diffusion_pytorch_model\.safetensors"):
        load_prior(str(tmp_path / "half"))


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "pickle")
    weights = tmp_path / "pickle" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match="not a complete diffusers folder"):
        load_prior(str(tmp_path / "pickle"))


def test_precision_follows_the_hardware(x) -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) == torch.bfloat16
    assert (autocast_dtype("auto", cpu) == torch.bfloat16) == has_fast_bf16(cpu)
    half = load_prior(str(TINY), precision="bf16")
    whole = load_prior(str(TINY), precision="fp32")
    z, text = whole.encode(x), whole.embed(["a cat", "a dog"])
    for a, b in (
        (half.encode(x), z),
        (half.decode(z), whole.decode(z)),
        (half.predict(z, Point(300, 0.5), text), whole.predict(z, Point(300, 0.5), text)),
    ):
        assert a.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.05 * b.abs().max()


@pytest.mark.parametrize(("precision", "seen"), [("fp32", "ieee"), ("bf16", "tf32")])
def test_float32_is_meant_in_full(x, precision: str, seen: str) -> None:
    """cuDNN convolves float32 in TF32 by default; inside every network of a float32 prior it must not."""
    convolutions: Any = torch.backends.cudnn.conv
    assert convolutions.fp32_precision == "tf32"
    prior = load_prior(str(TINY), precision=precision)
    found: list[str] = []
    for network in (prior.vae.encoder, prior.vae.decoder, prior.unet):
        network.register_forward_pre_hook(lambda *_: found.append(convolutions.fp32_precision))
    z = prior.encode(x)
    prior.decode(z)
    prior.predict(z, Point(300, 0.5), prior.embed(["a cat", "a dog"]))
    assert found == [seen] * 3
    assert convolutions.fp32_precision == "tf32"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_shipped_prior_in_half_precision(precision: str) -> None:
    """Its denoiser has a LayerNorm over the text itself, which no other kind has; gradients reach latent and text."""
    half, whole = load_prior("emoji64", precision=precision), load_prior("emoji64", precision="fp32")
    z = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    z, text = z.requires_grad_(), whole.embed(["a cat", "a dog"]).requires_grad_()
    eps, expected = (prior.predict(z, Point(300, 0.5), text) for prior in (half, whole))
    assert 0 < (eps - expected).abs().max() < 0.05 * expected.abs().max()
    for a, b in zip(*(torch.autograd.grad(e.square().sum(), (z, text)) for e in (eps, expected)), strict=True):
        assert 0 < (a - b).norm() < 0.1 * b.norm()
