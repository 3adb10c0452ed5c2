"""The loss of the denoiser, whatever it predicts."""

from __future__ import annotations

import copy

import pytest
import torch

from treg_exp.priors.small import training_scheduler
from treg_exp.recipes.emoji64.denoising import suit_bf16_on_cpus, weighted_error
from treg_exp.recipes.emoji64.networks import build_denoiser


@pytest.mark.parametrize("snr_range", [(0.0, 5.0), (1.0, 5.0)])
@pytest.mark.parametrize("t", [1, 300, 700, 999])
def test_the_same_error_of_the_image_costs_the_same(t: int, snr_range: tuple[float, float]) -> None:
    """An error e of z_0 is an error -(a / s) e of the noise and -e / s of v; it costs clamp(SNR) mean(e^2)."""
    latents, noise, e = torch.randn(3, 2, 4, 16, 16, generator=torch.Generator().manual_seed(0)).double().unbind()
    signal = training_scheduler().alphas_cumprod[t].double().expand(2, 1, 1, 1)
    a, s = signal.sqrt(), (1 - signal).sqrt()
    outputs = {"epsilon": noise - a / s * e, "v_prediction": a * noise - s * latents - e / s}
    snr = (signal / (1 - signal)).flatten()[0].clamp(*snr_range)
    for prediction, output in outputs.items():
        loss = weighted_error(output, latents, noise, signal, prediction, snr_range)
        torch.testing.assert_close(loss, snr * e.square().mean(), rtol=1e-6, atol=0)
        z_t = a * latents + s * noise
        z_0 = (z_t - s * output) / a if prediction == "epsilon" else a * z_t - s * output
        torch.testing.assert_close(z_0 - latents, e, rtol=0, atol=1e-6)


def test_what_is_fast_in_bf16_computes_the_same() -> None:
    torch.manual_seed(0)
    plain = build_denoiser((32, 32, 64)).eval()
    for parameter in plain.parameters():  # the residual branches of a fresh one are silent
        torch.nn.init.normal_(parameter, std=0.05)
    suited = copy.deepcopy(plain)
    suit_bf16_on_cpus(suited)
    given = torch.randn(2, 4, 16, 16), torch.tensor([3, 700]), torch.randn(2, 32, 128)
    expected = plain(*given).sample
    torch.testing.assert_close(suited(*given).sample, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    errors = []
    for network in (plain, suited):
        with torch.autocast("cpu", torch.bfloat16):
            errors.append(((network(*given).sample - expected).norm() / expected.norm()).item())
    assert errors[1] < max(0.05, 1.2 * errors[0])
    assert suited.state_dict().keys() == plain.state_dict().keys()
