"""A training can be cut off anywhere and goes on as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from tests.training.killing import train_and_kill
from tests.training.toy import Line, configured, state_of, train
from treg_exp.errors import ConfigError, FileError
from treg_exp.training.average import _follow
from treg_exp.training.checkpoint import WholeFiles
from treg_exp.training.data import KeyedSampler
from treg_exp.training.fit import fit
from treg_exp.training.module import TrainingModule


def same(first: dict, second: dict, atol: float = 0.0) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=atol, rtol=0, msg=name)


@pytest.mark.parametrize("saved_at", [3, 4, 7])  # 4: validated in the same step
def test_resumed_after_a_kill_equals_unbroken(tmp_path: Path, saved_at: int) -> None:
    unbroken = train(tmp_path / "unbroken")
    train_and_kill(lambda: train(tmp_path / "killed"), saved_at, saved_at + 2)
    killed = train(tmp_path / "killed")
    expected, found = state_of(unbroken), state_of(killed)
    assert found["global_step"] == 12
    for part in ("state_dict", "current_model_state"):
        same(found[part], expected[part], atol=1e-6)
    assert [row["step"] for row in killed.figures()] == [4, 8, 12]
    assert [row["error"] for row in killed.figures()] == [row["error"] for row in unbroken.figures()]


def test_a_budget_of_pictures_is_one_of_steps_whatever_the_cut(tmp_path: Path) -> None:
    by_steps = train(tmp_path / "steps")
    wishes = {"budget__steps": None, "budget__pictures": 90, "budget__batch_size": 8}  # 12 steps of 8 reach 90
    train_and_kill(lambda: train(tmp_path / "pictures", **wishes), 5, 7)
    by_pictures = train(tmp_path / "pictures", **wishes)
    found, expected = state_of(by_pictures), state_of(by_steps)
    assert found["global_step"] == 12
    assert found["callbacks"]["Budget"]["pictures"] == 96
    assert [row["step"] for row in by_pictures.figures()] == [4, 8, 12]
    assert found["optimizer_states"][0]["param_groups"][0]["lr"] == 0.0
    weight = "network.0.weight"
    assert (found["state_dict"][weight] - expected["state_dict"][weight]).abs().max() < 0.01  # the rate falls earlier
    before = by_pictures.checkpoint.read_bytes()
    train(tmp_path / "pictures", **wishes)
    assert by_pictures.checkpoint.read_bytes() == before
    train(
        tmp_path / "pictures", **{**wishes, "data__batch_size": 16, "budget__batch_size": 16, "budget__pictures": 128}
    )
    assert state_of(by_pictures)["global_step"] == 14


def test_annealing_begins_with_raw_weights_and_a_warm_optimiser(tmp_path: Path) -> None:
    long = train(tmp_path / "long", schedule__decay_fraction=0.0)
    kept, before = long.checkpoint.read_bytes(), state_of(long)
    wishes = {"begin_from": str(long.checkpoint), "schedule__decay_fraction": 1.0, "schedule__warmup_steps": 1}
    # At a rate of zero nothing moves: what is written is what it began with.
    still = state_of(train(tmp_path / "still", **wishes, optimizer__rate=0.0, budget__steps=1))
    same(still["current_model_state"], before["current_model_state"])
    moments = still["optimizer_states"][0]["state"][0]
    assert moments["step"] == before["optimizer_states"][0]["state"][0]["step"] + 1
    annealed = train(tmp_path / "annealed", **wishes)
    assert state_of(annealed)["global_step"] == 12
    assert state_of(annealed)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.0
    assert annealed.figures()[-1]["error"] < long.figures()[-1]["error"]
    assert long.checkpoint.read_bytes() == kept
    train_and_kill(lambda: train(tmp_path / "killed", **wishes), 3, 5)
    same(train(tmp_path / "killed", **wishes).averaged(), annealed.averaged(), atol=1e-6)


def test_beginning_from_what_is_no_such_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.begin_from=.*no such file"):
        train(tmp_path / "new", begin_from=str(tmp_path / "nothing.ckpt"))
    long = train(tmp_path / "long", objective__width=4)
    with pytest.raises(ConfigError, match=r"recipe\.begin_from=.*size mismatch"):
        train(tmp_path / "new", begin_from=str(long.checkpoint))


def test_every_step_has_its_own_batch_wherever_the_sampler_starts() -> None:
    first, later = iter(KeyedSampler(64, 8, seed=1)), iter(KeyedSampler(64, 8, seed=1, first_step=3))
    drawn = [next(first) for _ in range(5)]
    assert [next(later), next(later)] == drawn[3:]
    assert len({tuple(batch) for batch in drawn}) == 5
    assert next(iter(KeyedSampler(64, 8, seed=2))) != drawn[0]


def test_two_trainings_by_steps_are_equal(tmp_path: Path) -> None:
    same(train(tmp_path / "first").averaged(), train(tmp_path / "second").averaged())
    other = train(tmp_path / "third", seed=1, data__seed=1).averaged()
    assert not torch.equal(other["0.weight"], train(tmp_path / "first").averaged()["0.weight"])


def test_a_finished_training_is_left_alone_and_keeps_its_settings(tmp_path: Path) -> None:
    folder = train(tmp_path)
    before = folder.checkpoint.read_bytes()
    train(tmp_path, data__batch_size=16)
    assert folder.checkpoint.read_bytes() == before
    assert folder.settings()["data"]["batch_size"] == 8


def test_a_larger_budget_goes_on_at_the_full_rate(tmp_path: Path) -> None:
    folder = train(tmp_path)
    assert state_of(folder)["optimizer_states"][0]["param_groups"][0]["lr"] < 0.002
    train(tmp_path, budget__steps=1000, trainer__limit_val_batches=0, trainer__max_time="00:00:00:01")
    state = state_of(folder)
    assert state["global_step"] > 12
    assert folder.settings()["budget"]["steps"] == 1000
    if state["global_step"] < 700:
        assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.02)


def test_a_time_budget_ends_and_counts_over_continuations(tmp_path: Path) -> None:
    wishes = {"budget__steps": None, "trainer__limit_val_batches": 0}
    folder = train(tmp_path, budget__minutes=0.02, **wishes)
    steps = state_of(folder)["global_step"]
    assert steps > 1
    train(tmp_path, budget__minutes=0.02, **wishes)
    assert state_of(folder)["global_step"] == steps
    train(tmp_path, budget__minutes=0.04, **wishes)
    elapsed = state_of(folder)["callbacks"]["Budget"]["time_elapsed"]["train"]
    assert state_of(folder)["global_step"] > steps
    assert elapsed == pytest.approx(0.04 * 60, abs=0.8)


def test_the_exported_weights_are_the_moving_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, original = [], TrainingModule.on_train_batch_start

    def note(self, batch, batch_idx) -> None:
        weights.append(self.network[0].weight.detach().clone())
        original(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "on_train_batch_start", note)
    folder = train(tmp_path)
    weights = [*weights[1:], state_of(folder)["current_model_state"]["network.0.weight"]]
    average = weights[0].clone()
    for count, weight in enumerate(weights[1:], start=1):
        average.lerp_(weight, 1.0 - min(0.8, (2 + count) / (11 + count)))
    torch.testing.assert_close(folder.averaged()["0.weight"], average, atol=1e-6, rtol=0)
    objective = Line()
    objective.network.load_state_dict(folder.averaged())
    assert folder.figures()[-1]["error"] == pytest.approx(objective.figures()["error"], rel=1e-5)


def test_a_continuation_starts_from_the_weights_not_from_their_average(tmp_path: Path) -> None:
    state = state_of(train(tmp_path))
    assert not torch.equal(state["current_model_state"]["network.0.weight"], state["state_dict"]["network.0.weight"])


def test_a_young_average_follows_faster() -> None:
    averages = [torch.zeros(1)]
    _follow(averages, [torch.ones(1)], torch.tensor(1), decay=0.999)
    assert averages[0].item() == pytest.approx(1 - 3 / 12)
    averages = [torch.zeros(1)]
    _follow(averages, [torch.ones(1)], torch.tensor(100_000), decay=0.999)
    assert averages[0].item() == pytest.approx(0.001, rel=1e-3)


def test_a_write_that_is_cut_off_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, file)

    def torn(self, checkpoint, path, storage_options=None) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", torn)
    with pytest.raises(KeyboardInterrupt):
        WholeFiles().save_checkpoint({"step": 2}, file)
    assert torch.load(file)["step"] == 1
    monkeypatch.undo()
    WholeFiles().save_checkpoint({"step": 3}, file)
    assert torch.load(file)["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_checkpoints_are_written_as_often_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, original = [], WholeFiles.save_checkpoint

    def note(self, checkpoint, path, storage_options=None) -> None:
        steps.append(checkpoint["global_step"])
        original(self, checkpoint, path, storage_options)

    monkeypatch.setattr(WholeFiles, "save_checkpoint", note)
    train(tmp_path / "often", checkpoint__seconds=0.0)
    assert set(steps) == set(range(1, 13))
    steps.clear()
    train(tmp_path / "once")
    assert steps == [12]


def test_progress_is_told_before_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(Line, "advance", lambda self, progress, average: seen.append(progress))
    train(tmp_path)
    assert seen == pytest.approx([step / 12 for step in range(12)])


def test_in_a_slurm_job_lightning_requeues_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer Slurm's signal with a checkpoint of its own and `scontrol requeue`, which submitit does."""
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    seen: set = set()
    monkeypatch.setattr(Line, "advance", lambda *_: seen.add(signal.getsignal(signal.SIGUSR1)))
    train(tmp_path)
    assert seen == {signal.SIG_DFL}


def test_threads_share_a_batch_and_average_its_gradient(tmp_path: Path) -> None:
    one = train(tmp_path / "one", sharing__part_size=4)
    two = train(tmp_path / "two", sharing__workers=2)
    same(two.averaged(), one.averaged(), atol=1e-6)


def test_weights_that_mean_something_else_are_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(ConfigError, match=r"recipe\.objective\.kind=curve: the checkpoint was trained with line"):
        train(tmp_path, objective__kind="curve", budget__steps=20)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = train(tmp_path)
    torch.save({name: value for name, value in state_of(folder).items() if name != "meaning"}, folder.checkpoint)
    with pytest.raises(ConfigError, match="another version of the training"):
        train(tmp_path, budget__steps=20)
    with pytest.raises(FileError, match="another version"):
        folder.averaged()


def test_a_dry_run_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = configured(tmp_path / "nothing")
    cfg.dry_run = True
    fit(cfg)
    assert "nothing there yet" in capsys.readouterr().out
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget__steps": None}, "recipe.budget.minutes=null: a training needs an end"),
        ({"budget__minutes": -1.0}, "recipe.budget.minutes=-1.0: must be > 0"),
        (
            {"data__batch_size": 9, "sharing__workers": 2},
            "recipe.sharing.batch_size=9: must be a multiple of workers=2",
        ),
        ({"schedule__decay_fraction": -0.1}, "recipe.schedule.decay_fraction=-0.1: must be >= 0"),
        ({"callbacks__average__decay": 1.0}, "recipe.callbacks.average.decay=1.0: must be >= 0 and < 1"),
        ({"checkpoint__seconds": -1.0}, "recipe.checkpoint.seconds=-1.0: must be >= 0"),
        ({"trainer__devices": 2}, "recipe.trainer.devices=2: must be 1"),
        ({"trainer__accelerator": "abacus"}, "recipe.trainer: "),
    ],
)
def test_values_that_cannot_work_are_refused_with_their_place(tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, **values)
    assert str(caught.value).startswith(message)


def test_fit_without_a_recipe_says_how_to_choose_one() -> None:
    cfg = configured(Path("nowhere"))
    del cfg.recipe
    with pytest.raises(ConfigError, match="recipe=emoji64/unet"):
        fit(cfg)
