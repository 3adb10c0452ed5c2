"""The student of few steps: where its jumps end, what its loss is zero for, a short training, and its export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.recipes.emoji64.conftest import NAMES, Miniature
from tests.recipes.emoji64.test_stages import SHORT, state_of
from treg_exp.errors import ConfigError, FieldError
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.families.schedules import variance_preserving
from treg_exp.recipes.emoji64.export import export, load_pipeline
from treg_exp.recipes.emoji64.modelcard import sampling_of, training_record
from treg_exp.recipes.emoji64.samples import Sampling, draw_samples
from treg_exp.recipes.emoji64.segments import Segments, implied_signal, prior_schedule
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.schedule.levels import Level
from treg_exp.shipped import ASSETS

SHIPPED = ASSETS / "emoji64"
FRESH = Callable[..., Miniature]
#: Few comparisons: the teacher's samples cost most.
QUICK = {
    **SHORT, "objective.compared": 3, "objective.teacher_steps": 16, "objective.reference_steps": 16,
    "objective.versions": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def student(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The objective before its training, with the networks of the shipped prior."""
    folder = tmp_path_factory.mktemp("student")
    return Miniature(data_dir, folder, SHIPPED).objective("student", **{"objective.versions": 1})


def test_the_schedule_is_that_of_the_shipped_prior() -> None:
    assert prior_schedule() == variance_preserving(SHIPPED)[0]


@pytest.mark.parametrize(("segments", "teacher_steps"), [(1, 50), (4, 64), (8, 8), (8, 64), (8, 200)])
def test_every_jump_ends_at_the_next_step_of_the_sampler(segments: int, teacher_steps: int) -> None:
    made, visited = Segments(prior_schedule(), segments, teacher_steps), prior_schedule().moves(segments)
    assert made.times[0] == visited[0].now.t
    legs = made.legs(torch.arange(len(made.times)))
    for k, time in enumerate(made.times):
        move = next(move for move in reversed(visited) if move.now.t >= time)
        found = legs.jump
        assert legs.jump.now.t[k] == time  # type: ignore[index]
        for level, expected in ((found.now, made.schedule.level(time)), (found.next, move.next)):
            assert level.alpha[k].item() == pytest.approx(expected.alpha, abs=1e-6)  # type: ignore[index]
            assert level.sigma[k].item() == pytest.approx(expected.sigma, abs=1e-6)  # type: ignore[index]
        assert move.next.sigma <= legs.step.next.sigma[k].item() + 1e-6 < legs.step.now.sigma[k].item()  # type: ignore
    assert (legs.rest.now.t >= 0).all()  # type: ignore[union-attr]


def test_the_implied_signal_is_the_one_that_the_jump_was_made_with() -> None:
    segments = Segments(prior_schedule(), 8, 64)
    positions = torch.arange(len(segments.times))
    jump = segments.legs(positions).jump
    z_0, z_t = torch.randn(2, len(positions), 4, 4, 4, generator=keyed_generator("signal")).unbind()
    z_end = jump.next.alpha * z_0 + jump.next.sigma * jump.now.noise_in(z_t, z_0)
    torch.testing.assert_close(implied_signal(z_t, z_end, jump), z_0, atol=1e-4, rtol=0)


class Straight(nn.Module):
    """The exact denoiser of data that are one point: its jumps of any length arrive at the same place."""

    def __init__(self, point: float) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.tensor(point))

    def velocity(self, z_t: Tensor, level: Level) -> Tensor:
        return (level.alpha * z_t - self.point) / level.sigma


def straight(student: Any, points: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> float:
    """Loss where student, averaged student and teacher know points of their own."""
    own, target, teacher = (Straight(point) for point in points)
    schedule = prior_schedule()

    def forward(network: Straight, z_t: Tensor, times: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        levels = [schedule.level(t) for t in times.tolist()]
        alpha, sigma = torch.tensor([[x.alpha, x.sigma] for x in levels]).view(-1, 2, 1, 1, 1).unbind(1)
        return network.velocity(z_t, Level(times, alpha, sigma)), z_t

    for name, value in (("network", own), ("target", target), ("teacher", teacher), ("_denoise", forward)):
        monkeypatch.setattr(student, name, value)
    batch = torch.tensor(student.corpus.split.train[:32])
    loss: float = student.loss(batch, keyed_generator("straight")).item()
    return loss


def test_the_loss_is_zero_where_the_paths_are_straight(student: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of one opinion: a jump equals its steps. An error e of the student's z_0 alone costs mean(weight) e^2."""
    assert straight(student, (0.5, 0.5, 0.5), monkeypatch) < 1e-6
    alphas = torch.tensor([prior_schedule().level(t).alpha for t in student.segments.times])
    weight = (alphas**2 / (1 - alphas**2)).clamp(*student.snr_range).mean().item()
    assert straight(student, (0.7, 0.5, 0.5), monkeypatch) == pytest.approx(weight * 0.04, rel=0.1)
    assert straight(student, (0.5, 0.5, 0.7), monkeypatch) > 1e-3  # the teacher is listened to, and so is the average
    assert straight(student, (0.5, 0.7, 0.5), monkeypatch) > 1e-3


def test_the_teacher_is_guided_and_an_empty_prompt_is_not(student: Any) -> None:
    text = student.prompts.embedded(torch.tensor([0, 5]), student._encode)
    z_t = torch.randn(2, 4, 16, 16, generator=keyed_generator("guided"))
    level = Level(torch.tensor([501, 501]), *(torch.full((2, 1, 1, 1), x) for x in (0.5, 0.75**0.5)))
    with torch.no_grad():
        guided = student._guided(z_t, level, text).eps
        plain = student._predicted(student.teacher, z_t, level, text).eps
        null = student._predicted(student.teacher, z_t, level, student.empty.expand_as(text)).eps
    torch.testing.assert_close(guided, null + 2.0 * (plain - null), atol=1e-4, rtol=0)
    torch.testing.assert_close(guided[0], plain[0], atol=1e-4, rtol=0)
    assert (guided[1] - plain[1]).abs().mean() > 1e-3
    for name, value in student.network.state_dict().items():
        assert torch.equal(value, student.teacher.state_dict()[name])


@pytest.mark.slow
def test_a_training_comes_nearer_to_the_teacher_and_leaves_a_prior(fresh: FRESH, tmp_path: Path) -> None:
    """Also with an interruption, which changes nothing: the average that it aims at is taken up again."""
    miniature, interrupted = (fresh(name, start_from=SHIPPED) for name in ("unbroken", "interrupted"))
    wishes = {
        **QUICK, "schedule.warmup_steps": 1, "schedule.decay_fraction": 0.0, "budget.pictures": None,
        "budget.steps": 4, "trainer.val_check_interval": 1,
    }  # fmt: skip
    miniature.train("student", **wishes)
    for steps in (2, 4):
        interrupted.train("student", **{**wishes, "budget.steps": steps, "trainer.val_check_interval": 100})
    expected, found = (state_of(each, "student")["state_dict"] for each in (miniature, interrupted))
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0, msg=name)
    rows = miniature.stages.folder("student").figures()
    assert rows[-1]["val_distance"] < 0.95 * rows[0]["val_distance"]
    assert rows[-1]["val_distance_teacher"] == rows[0]["val_distance_teacher"] > 0
    stages = TrainedStages(miniature.out, SHIPPED, denoiser_in="student")
    folder = export(miniature.corpus, stages, tmp_path / "out" / "prior", figures=False)
    pipe = load_pipeline(folder)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    kept = state_of(miniature, "student")["state_dict"]["network.conv_in.weight"]
    assert torch.equal(pipe.unet.conv_in.weight, kept.half().float())
    assert variance_preserving(folder)[0].timesteps(8)[0] == 876
    record = training_record(stages)
    assert record["unet"]["student"] == {"segments": 8, "teacher_steps": 16, "guidance_scale": 2.0}
    assert sampling_of(record) == Sampling(guidance=1.0, steps=8)
    assert sampling_of({}) == Sampling()
    assert draw_samples(pipe, [f"{NAMES[0]}, noto style"], 1.0, 2).isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective.segments": 0}, "recipe.objective.segments=0: must be >= 1"),
        ({"objective.teacher_steps": 60}, "recipe.objective.teacher_steps=60: must be a multiple of segments=8"),
        ({"objective.reference_steps": 4}, "recipe.objective.reference_steps=4: must be a multiple of segments=8"),
        ({"objective.guidance_scale": -1.0}, "recipe.objective.guidance_scale=-1.0: must be >= 0"),
        ({"objective.snr_range": [5.0, 1.0]}, "recipe.objective.snr_range=[5.0, 1.0]: must be two numbers"),
        ({"objective.compared": 0}, "recipe.objective.compared=0: must be >= 1"),
        ({"objective.prediction": "epsilon"}, "recipe.objective.prediction=epsilon: must be v_prediction"),
        ({"objective.widths": [32, 64, 128]}, "recipe.objective.widths=[32, 64, 128]: must be those of the denoiser"),
    ],
)
def test_wrong_values_are_refused(fresh: FRESH, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fresh(start_from=SHIPPED).objective("student", **values)
    assert str(caught.value).startswith(message)


def test_a_spacing_whose_steps_do_not_lie_within_each_other_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(FieldError, match="linspace"):
        Segments(replace(prior_schedule(), spacing="linspace"), 8, 16)
