"""A diffusion model taken as a rectified flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.priors.folders import write_sd3
from tests.solvers.gaussian import SHAPE, CorrelatedGaussian, diffusion
from treg_exp.errors import FieldError
from treg_exp.priors.as_flow import FlowDenoiser, FlowOfDiffusion
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level


@pytest.mark.parametrize("s", [0.05, 0.3, 0.7, 0.93])
def test_the_estimates_are_those_of_the_flow(s: float) -> None:
    """Of a Gaussian both are known in closed form: E[z_0 | (1 - s) z_0 + s eps], whatever the schedule."""
    level = Level(1000 * s, 1 - s, s)
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    own = CorrelatedGaussian().predict(z, level)
    taken = FlowDenoiser(CorrelatedGaussian(), diffusion()).predict(z, level)
    torch.testing.assert_close(taken.z_0, own.z_0, rtol=0, atol=2e-6)
    torch.testing.assert_close(taken.eps - taken.z_0, own.eps - own.z_0, rtol=0, atol=1e-4)


def test_pure_noise_is_asked_at_the_last_level() -> None:
    """The schedule ends at a ratio of 14.6: from s = 0.936 on, z_t counts as one of that level."""
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    last = diffusion().level(999)
    taken = FlowDenoiser(CorrelatedGaussian(), diffusion()).predict(z, Level(1000, 0.0, 1.0))
    own = CorrelatedGaussian().predict(last.sigma * z, last)
    torch.testing.assert_close(taken.z_0, own.z_0, rtol=0, atol=1e-5)
    assert torch.equal(taken.eps, z)
    assert last.sigma / last.alpha == pytest.approx(14.6, abs=0.05)


def test_a_folder_is_taken_as_a_flow() -> None:
    spec = FlowOfDiffusion(path="tiny_random", precision="fp32", shift=3.0)
    spec.check()
    assert (spec.info.schedule, spec.info.kind) == (Flow(shift=3.0), "flow")
    prior = spec.load()
    text = prior.text.embed(["a dog"])
    level = Level(500, 0.5, 0.5)
    at = prior.predict(torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), level, text)
    assert at.z_0.isfinite().all()
    assert not prior.in_half_precision
    assert np.isclose(spec.diffusion.schedule.alphas_cumprod[-1], 0.0047, atol=1e-3)


def test_flows_and_wrong_shifts_are_refused(tmp_path: Path) -> None:
    flow = FlowOfDiffusion(path=str(write_sd3(tmp_path / "flow")), precision="fp32")
    with pytest.raises(FieldError, match=r"its schedule is Flow; only diffusion models .* can be taken as a flow"):
        flow.check()
    with pytest.raises(FieldError, match="shift=0: must be > 0"):
        FlowOfDiffusion(path="tiny_random", shift=0).check()
