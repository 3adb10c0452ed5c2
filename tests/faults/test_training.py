"""Trainings as the jobs of a sweep: `-m mode=fit recipe=...`."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from omegaconf import OmegaConf

from tests.faults.sweeps import states, table
from tests.nursery import Nursery
from tests.training.toy import configured, state_of
from treg_exp.training.folder import TrainingFolder


def command(folder: Path, *overrides: str) -> list[str]:
    """Trainings of the toy, with the recipe as an option of its own."""
    recipe = folder.parent / "conf" / "recipe" / "toy.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(OmegaConf.to_yaml(configured(folder).recipe))
    place = ["-m", "--packages", "tests", "--config-dir", str(folder.parent / "conf")]
    return [*place, "mode=fit", "recipe=toy", *overrides, f"run_dir={folder}"]


def test_trainings_are_jobs_as_any_other(nursery: Nursery, tmp_path: Path) -> None:
    """A finished one is not trained again, one that was killed goes on from its checkpoint, a wrong one says why."""
    folder = tmp_path / "s"
    asked = command(folder, "recipe.seed=1,2,-1", "recipe.budget.steps=120", "+recipe.checkpoint.seconds=0")
    child = nursery.start(asked)
    end = time.monotonic() + 60
    while not any(steps(file) > 4 for file in folder.glob("*/last.ckpt")) and time.monotonic() < end:
        time.sleep(0.01)
    assert states(folder) == {"running": 1, "queued": 2}
    child.stop(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert states(folder) == {"stale": 1, "queued": 2}
    (reached,) = map(steps, folder.glob("*/last.ckpt"))
    assert 4 < reached < 120
    again = nursery.run(asked)
    assert again.code == 2, again.text
    assert [line.status.state for line in table(folder)] == ["finished", "finished", "failed"]
    assert [line.status.exit_code for line in table(folder)] == [0, 0, 2]
    assert table(folder)[2].status.error == "recipe.seed=-1: must be an integer >= 0 and below 2**63"
    assert all(line.status.seconds > 0 for line in table(folder)[:2])
    assert f"step {reached - reached % 4 + 4} " in again.text  # from where it was
    assert again.text.count("step 4 ") == 1  # of the second training alone
    assert "Traceback" not in again.text
    made = {file: (steps(file), file.stat().st_mtime_ns) for file in folder.glob("*/last.ckpt")}
    assert [count for count, _ in made.values()] == [120, 120]
    assert nursery.run(asked).code == 2
    assert made == {file: (steps(file), file.stat().st_mtime_ns) for file in folder.glob("*/last.ckpt")}


def test_a_training_of_another_process_is_left_alone(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    asked = command(folder, "recipe.seed=1,2", "recipe.budget.steps=100")
    children = [nursery.start(asked) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0], [child.text for child in children]
    assert states(folder) == {"finished": 2}
    assert sum(child.text.count("step 100 ") for child in children) == 2


def steps(checkpoint: Path) -> int:
    """Steps after which it was written."""
    return state_of(TrainingFolder(checkpoint.parent))["global_step"]
