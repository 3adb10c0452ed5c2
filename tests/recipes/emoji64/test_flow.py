"""The denoiser as a rectified flow: how it begins, a short training, its export, and what loads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.emoji64.conftest import Miniature
from treg_exp.cli import main
from treg_exp.errors import ConfigError, FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.priors.as_flow import FlowOfDiffusion
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.recipes.emoji64.command import STAGES, VARIANTS
from treg_exp.recipes.emoji64.denoising import denoise
from treg_exp.recipes.emoji64.flow_export import export_flow
from treg_exp.recipes.emoji64.flow_start import FLOW_TIMES
from treg_exp.schedule.flow import Flow
from treg_exp.solvers.flowdps import FlowDPS
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.policy import TextPolicy

FEW = {"objective.versions": 1, "objective.fitted_on": 72}
SHORT = {
    **FEW, "objective.teacher_until": 1.0, "budget.steps": 50, "data.batch_size": 16, "optimizer.rate": 5e-4,
    "schedule.warmup_steps": 5, "trainer.val_check_interval": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def flow(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The stage, trained for 50 steps from the shipped prior."""
    miniature = Miniature(data_dir, tmp_path_factory.mktemp("flow"), "emoji64")
    miniature.train("flow", **SHORT)
    return miniature


@pytest.fixture(scope="module")
def begun(flow: Miniature) -> Any:
    """The objective before its training."""
    return flow.objective("flow", **FEW)


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.1, 0.5, 0.9, 0.97])
def test_the_teacher_is_the_shipped_prior_as_a_flow(begun: Any, s: float) -> None:
    """Up to s = 0.936, the noisiest level of its table, and beyond."""
    prior = FlowOfDiffusion(path="emoji64", precision="fp32").load()
    text = prior.text.embed(["red apple", "octopus"])
    z = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    at = prior.predict(z, Flow().level(1000 * s), text)
    with torch.no_grad():
        found = begun.velocity(denoise, z, torch.full((2,), s), text.tokens)
    torch.testing.assert_close(found, at.eps - at.z_0, rtol=0, atol=2e-3)  # times are looked up in a grid of 1000


@pytest.mark.slow
@torch.no_grad()
def test_it_hears_the_times_of_a_flow_from_the_start(begun: Any) -> None:
    s = torch.linspace(0.01, 0.99, 99)
    told = begun.velocity.network
    wanted = told.time_embedding(told.time_proj(begun.velocity.times(s)))
    found = begun.network.time_embedding(begun.network.time_proj(FLOW_TIMES * s))
    assert (found - wanted).square().mean() < 2e-3 * wanted.var(0).mean()
    ratio = begun.network.conv_in.weight / told.conv_in.weight
    assert ratio.mean().item() == pytest.approx(
        1.25, abs=0.01
    )  # mean of 1 / sqrt((1 - s)^2 + s^2), sqrt(2) ln(1 + sqrt(2))


@pytest.mark.slow
def test_it_learns(flow: Miniature, begun: Any) -> None:
    """Fitted, it is nearer to the diffusion model than its copy; trained for 50 steps, much nearer."""
    copied = flow.objective("flow", **{**FEW, "objective.fitted_on": 0}).figures()
    first, trained = begun.figures(), flow.objective("flow", True, **FEW).figures()
    assert first["val_distance"] < 0.5 * copied["val_distance"]
    assert trained["val_distance"] < 0.5 * first["val_distance"]
    assert trained["val_loss"] < 0.9 * first["val_loss"]
    assert trained["val_loss_teacher"] == pytest.approx(copied["val_loss_teacher"])


@pytest.mark.slow
def test_the_data_teach_in_the_last_part_of_the_budget(begun: Any) -> None:
    batch, losses = torch.tensor([0, 4, 9]), []
    for progress in (0.79, 0.8):
        begun.advance(progress, begun.network)
        losses.append(begun.loss(batch, torch.Generator().manual_seed(3)).item())
    assert losses[1] > losses[0]  # the noise that no network can know is in it
    assert begun.focus == (0.75, 1.5)


@pytest.mark.slow
def test_a_continuation_keeps_what_was_learnt(flow: Miniature) -> None:
    """The last layer is fitted only where nothing was trained yet."""
    trained = flow.objective("flow", True, **FEW)
    before = trained.network.conv_out.weight.clone()
    trained.prepare("32-true")
    assert torch.equal(trained.network.conv_out.weight, before)


@pytest.mark.slow
def test_its_export_is_a_flow_with_text(flow: Miniature, tmp_path: Path) -> None:
    folder = export_flow(flow.corpus, flow.stages, tmp_path / "prior")
    spec = DiffusersFolder(path=str(folder), precision="fp32")
    spec.check()
    info = spec.info
    assert (info.schedule, info.kind, info.signal_shape, info.factor) == (Flow(shift=3.0), "flow", (3, 64, 64), 4)
    prior = spec.load()
    assert prior.image_text is not None
    z, level = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), Flow().level(600.0)
    text = prior.text.embed(["banana"])
    at, trained = prior.predict(z, level, text), flow.objective("flow", True, **FEW).network
    with torch.no_grad():
        expected = trained(z, 600.0, text.tokens).sample
    torch.testing.assert_close(at.eps - at.z_0, expected, rtol=0, atol=2e-2)  # weights in half precision
    operator = AveragePooling(8, (3, 64, 64))
    problem = InverseProblem(operator.A(flow.corpus.as_float(torch.tensor([0]))), operator, 0.0, 0.0)
    policy, solver = TextPolicy(ConstantGuidance(2.0)), FlowDPS(steps=3)
    solver.check(problem, info)
    texts = policy.start(prior, [{"prompt": "red apple"}])
    assert solver.solve(problem, texts, prior, policy, KeyedNoise([StreamKey(0, "a")])).signal.isfinite().all()
    with pytest.raises(FieldError, match="timestep_spacing=leading: this prior has no table"):
        _ = DiffusersFolder(path=str(folder), timestep_spacing="leading").info


def test_the_command_knows_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train-prior", "--stage", "none of them"])
    choices = capsys.readouterr().err
    for stage in (*STAGES, *VARIANTS, "export", "export-pixel", "export-flow"):
        assert f"{stage}," in choices.replace("'", "")


def test_wrong_values_are_named(fresh: Callable[..., Miniature], tmp_path: Path) -> None:
    miniature = fresh(start_from="emoji64")
    for name, value in (
        ("widths", [32, 64, 128]), ("shift", 0.0), ("spread", 0.0), ("teacher_until", 1.5), ("fitted_on", -1),
    ):  # fmt: skip
        with pytest.raises((ConfigError, FieldError), match=name):
            miniature.objective("flow", **{**FEW, f"objective.{name}": value})
    with pytest.raises(FieldError, match="does not exist: train the stage flow first"):
        export_flow(miniature.corpus, miniature.stages, tmp_path / "prior")
