"""Pixel-space priors: the numbers of diffusers' pipelines, and every solver that needs no text runs on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel

from tests.priors.folders import ddim, write_pixel
from tests.priors.sampling import NOISE, check_treg, load, sample
from treg_exp.api import measure, restore
from treg_exp.operators.linear.masking import BoxInpainting
from treg_exp.solvers.baselines import Adjoint, PseudoInverse
from treg_exp.solvers.treg import TReg
from treg_exp.text.policy import TextPolicy

SCHEDULERS = {
    "epsilon": ddim(),
    "v_prediction": ddim(prediction_type="v_prediction"),
    "sample": ddim(prediction_type="sample"),
    "clipped": ddim(clip_sample=True, clip_sample_range=0.8),
    "zero_snr": ddim(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_samples_equal_those_of_the_pipeline_of_diffusers(kind: str, tmp_path: Path) -> None:
    write_pixel(tmp_path, scheduler=SCHEDULERS[kind])
    prior = load(tmp_path)
    ours, _ = sample(prior, 5)
    pipe = DDIMPipeline(prior.denoiser.network.module, DDIMScheduler.from_pretrained(tmp_path / "scheduler"))
    pipe.set_progress_bar_config(disable=True)
    generators = NOISE._generators("start", 0, 0)
    theirs = pipe(batch_size=2, generator=generators, eta=0.0, num_inference_steps=5, output_type="pt").images
    assert theirs.std() > 0.02, "a picture without content agrees with anything"
    difference = ((ours / 2 + 0.5).clamp(0, 1) - theirs).abs().max()
    assert difference < 1e-4


def test_edm_equals_a_loop_over_the_scheduler_of_diffusers(tmp_path: Path) -> None:
    """It begins with sigma_max times the noise, as the paper does; the scheduler alone would take a little more."""
    write_pixel(tmp_path, scheduler=EDMEulerScheduler())
    prior = load(tmp_path)
    assert prior.info.kind == "edm"
    ours, start = sample(prior, 6)
    unet = UNet2DModel.from_pretrained(tmp_path / "unet", low_cpu_mem_usage=False).eval()
    scheduler = EDMEulerScheduler.from_pretrained(tmp_path / "scheduler")
    scheduler.set_timesteps(6)
    z = start * scheduler.config.sigma_max
    with torch.no_grad():
        for t in scheduler.timesteps:
            z = scheduler.step(unet(scheduler.scale_model_input(z, t), t).sample, t, z).prev_sample
    difference = (ours - z).abs().max()
    assert difference < 1e-4


def test_a_flow_equals_a_loop_over_the_scheduler_of_diffusers(tmp_path: Path) -> None:
    write_pixel(tmp_path, scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0))
    prior = load(tmp_path)
    assert prior.info.kind == "flow"
    ours, z = sample(prior, 6)
    unet = UNet2DModel.from_pretrained(tmp_path / "unet", low_cpu_mem_usage=False).eval()
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path / "scheduler")
    scheduler.set_timesteps(6)
    with torch.no_grad():
        for t in scheduler.timesteps:
            z = scheduler.step(unet(z, t).sample, t, z).prev_sample
    assert (ours - z).abs().max() < 1e-4


@pytest.mark.parametrize("scheduler", [ddim(), EDMEulerScheduler(), FlowMatchEulerDiscreteScheduler()])
def test_treg_restores_without_text(scheduler: object, tmp_path: Path) -> None:
    write_pixel(tmp_path, scheduler=scheduler)
    check_treg(load(tmp_path), steps=6, with_text=False)


@pytest.mark.parametrize(
    "solver",
    [PseudoInverse(), Adjoint(), TReg(steps=3), TReg(steps=3, off_window="dps"), TReg(steps=3, encoder="sample")],
)
def test_solvers_run(solver: object, tmp_path: Path) -> None:
    write_pixel(tmp_path)
    prior = load(tmp_path)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    problem = measure(BoxInpainting(box=(0.25, 0.25, 0.5, 0.5), signal_shape=(3, 32, 32)), x)
    restored = restore(problem, prior, solver=solver)
    assert restored.shape == x.shape
    assert restored.isfinite().all()


def test_a_text_is_refused(tmp_path: Path) -> None:
    write_pixel(tmp_path)
    prior = load(tmp_path)
    assert TextPolicy().start(prior, [{"prompt": ""}]).prompt.tokens.numel() == 0
    problem = measure(BoxInpainting(box=(0.25, 0.25, 0.5, 0.5), signal_shape=(3, 32, 32)), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="the prior has no text encoder; only the empty text works"):
        restore(problem, prior, "a cat")


@pytest.mark.parametrize("unet", [{}, {"time_embedding_type": "fourier"}, {"sample_size": (32, 48)}])
def test_half_precision_changes_little(unet: dict[str, object], tmp_path: Path) -> None:
    write_pixel(tmp_path, **unet)
    half, whole = (load(tmp_path, precision=precision) for precision in ("bf16", "fp32"))
    z = torch.randn(2, *whole.info.signal_shape, generator=torch.Generator().manual_seed(0))
    level = whole.info.schedule.level(300)
    one, other = (prior.predict(z, level).eps for prior in (half, whole))
    assert one.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.05 * other.abs().max()
    with half.in_float32():
        assert torch.equal(half.predict(z, level).eps, other)


def test_a_table_of_learned_times_is_asked_by_row(tmp_path: Path) -> None:
    write_pixel(tmp_path, time_embedding_type="learned", num_train_timesteps=1000)
    prior = load(tmp_path)
    z = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = (prior.predict(z, prior.info.schedule.level(t)).eps for t in (300, 301))
    assert (one - other).abs().max() > 1e-3
