"""Priors of waveforms, alone and as several sources at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet1DModel

from tests.priors.folders import ddim, write_waveform
from tests.priors.sampling import load, sample
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.precision import has_fast_bf16

RESNETS = {
    "down_block_types": ("DownResnetBlock1D",) * 3, "up_block_types": ("UpResnetBlock1D",) * 2, "act_fn": "mish",
    "mid_block_type": "MidResTemporalBlock1D", "out_block_type": "OutConv1DBlock", "extra_in_channels": 0,
    "time_embedding_type": "positional", "use_timestep_embedding": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "scheduler", [ddim(), ddim(prediction_type="v_prediction"), ddim(clip_sample=True, clip_sample_range=0.8)]
)
def test_samples_equal_a_loop_over_the_scheduler_of_diffusers(scheduler: DDIMScheduler, tmp_path: Path) -> None:
    write_waveform(tmp_path, scheduler=scheduler)
    ours, z = sample(load(tmp_path), 5)
    assert ours.shape == (2, 1, 4096)
    unet = UNet1DModel.from_pretrained(tmp_path / "unet", low_cpu_mem_usage=False).eval()
    scheduler.set_timesteps(5)
    with torch.no_grad():
        for t in scheduler.timesteps:
            z = scheduler.step(unet(z, t).sample, t, z).prev_sample
    difference = (ours - z).abs().max()
    assert z.std() > 0.1
    assert difference < 1e-4 * max(1.0, float(z.abs().max()))


def test_what_the_folder_says(tmp_path: Path) -> None:
    info = DiffusersFolder(path=str(write_waveform(tmp_path, channels=2, sample_rate=22050))).info
    assert (info.medium, info.signal_shape, info.sample_rate) == ("audio", (2, 4096), 22050)
    assert (info.factor, info.multiple, info.text_layout, info.feature_width) == (1, 8, None, None)
    assert info.latent_shape((2, 1024)) == (2, 1024)


@pytest.mark.parametrize(("unet", "multiple"), [({}, 8), (RESNETS, 4)])
def test_other_lengths_of_the_allowed_multiple_fit(unet: dict[str, object], multiple: int, tmp_path: Path) -> None:
    prior = load(write_waveform(tmp_path, **unet))
    assert prior.info.multiple == multiple
    level = prior.info.schedule.level(300)
    for length in (64 + multiple, 1000, 6000):
        z = torch.randn(2, *prior.info.latent_shape((1, length)))
        assert prior.predict(z, level).z_0.shape == z.shape


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_changes_little_and_gradients_pass(precision: str, tmp_path: Path) -> None:
    """With AMX gradients of bf16 are 0.25 off."""
    apart = 0.4 if precision == "bf16" and has_fast_bf16(torch.device("cpu")) else 0.1
    write_waveform(tmp_path)
    half, whole = (load(tmp_path, precision=p) for p in (precision, "fp32"))
    z = torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0)).requires_grad_()
    level = whole.info.schedule.level(500)
    one, other = (prior.predict(z, level).z_0 for prior in (half, whole))
    assert one.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.05 * other.abs().max()
    (gradient,), (expected,) = (torch.autograd.grad(x.square().sum(), z) for x in (one, other))
    assert 0 < (gradient - expected).norm() < apart * expected.norm()
    with half.in_float32():
        assert torch.equal(half.predict(z, level).z_0, other)
