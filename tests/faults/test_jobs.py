"""Jobs that fail, each in its own way, between others that do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.faults import imitated
from tests.faults.sweeps import check_complete, check_sound, found_rows, states, sweep_of, table
from tests.nursery import Nursery
from treg_exp.signals.image import save_png
from treg_exp.sweeps.overview import show

SAID = {  # seed -> state, finished, failed, exit code, what the status says
    0: ("finished", 2, 0, 0, ""),
    1: ("failed", 0, 0, 1, "TypeError: the solver has a mistake"),
    2: ("failed", 1, 1, 1, "1 of 2 restorations failed"),
    3: ("failed", 0, 2, 1, "variant own: metrics.residual: ValueError: the metric has a mistake"),
    4: ("failed", 0, 0, 1, "can't allocate memory"),
    5: ("failed", 0, 0, 1, "something in the run has called sys.exit(3)"),
    6: ("finished", 2, 0, 0, ""),
}


def test_every_failure_is_named_and_costs_nothing_else(
    nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A solver and metrics with mistakes, memory that is too small, and sys.exit."""
    folder = tmp_path / "s"
    command = sweep_of(folder, "seed=range(7)", "data.limit=2", "solver.steps=1")
    child = nursery.run(command, before=[f"{imitated.__name__}:job_by_job"])
    assert child.code == 1, child.text
    found = {int(line.label.removeprefix("seed=")): line.status for line in table(folder)}
    for seed, (state, finished, failed, code, error) in SAID.items():
        status = found[seed]
        assert (status.state, status.finished, status.failed, status.exit_code) == (state, finished, failed, code), seed
        assert status.expected == 2
        assert error in status.error, seed
        assert bool(error) == bool(status.error), seed
    capsys.readouterr()
    assert show(folder) == 1
    out = capsys.readouterr().out
    assert "5 failed, 2 finished" in out
    assert all(error in " ".join(out.split()) for *_, error in SAID.values())
    assert child.text.count("error: failed: ") == 5
    kept = check_sound(folder, {}, 1)
    assert len(kept) == 5
    again = nursery.run(command)
    assert again.code == 0, again.text
    assert check_sound(folder, kept, 1).keys() > kept.keys()
    check_complete(folder, 7, 2)


def test_a_wrong_setting_stops_no_other_job(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    child = nursery.run(sweep_of(folder, "guidance.scale=1,-2,3", "data.limit=1", "solver.steps=1"))
    assert child.code == 2, child.text
    good, wrong, other = (line.status for line in table(folder))
    assert (good.state, other.state, len(found_rows(folder))) == ("finished", "finished", 2)
    assert (wrong.state, wrong.exit_code) == ("failed", 2)
    assert wrong.error.startswith("guidance.scale=-2: must be >= 0")
    assert "Traceback" not in child.text


def test_weights_that_are_not_finite_fail_every_restoration(nursery: Nursery, tmp_path: Path) -> None:
    """And no job of the same sweep with another prior."""
    folder, broken = tmp_path / "s", tmp_path / "broken"
    shutil.copytree(DATA / "parity" / "tiny_model", broken)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.startswith("conv_out"))
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, weights, metadata={"format": "pt"})
    paths = f"prior.path={broken},{DATA}/parity/tiny_model"
    child = nursery.run(sweep_of(folder, "data.limit=2", "solver.steps=1", paths))
    assert child.code == 1, child.text
    lost, good = (line.status for line in table(folder))
    assert (lost.state, lost.finished, lost.failed) == ("failed", 0, 2)
    assert "non-finite at step 0" in lost.error
    assert (good.state, good.finished) == ("finished", 2)


def test_pictures_that_are_damaged_or_vanish(nursery: Nursery, tmp_path: Path) -> None:
    """Before the start they are refused by name; in the middle they fail alone, and are done when they are back."""
    folder, photos = tmp_path / "s", tmp_path / "photos"
    for i, name in enumerate("abcd"):
        save_png(torch.full((3, 64, 64), i / 4), photos / f"{name}.png")
    whole = (photos / "b.png").read_bytes()
    data = ["data=folder", f"data.path={photos}", "prompt=fixed", "prompt.text=a cat", "solver.steps=1"]
    command = sweep_of(folder, "seed=1,2", *data)
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    child = nursery.run(command)
    assert child.code == 2, child.text
    assert all("b.png" in line.status.error and line.status.exit_code == 2 for line in table(folder))
    (photos / "b.png").write_bytes(whole)
    child = nursery.run(command, before=[f"{imitated.__name__}:vanish", str(photos / "b.png"), str(photos / "d.png")])
    assert child.code == 2, child.text
    first, second = (line.status for line in table(folder))
    assert (first.state, first.finished, first.failed) == ("failed", 2, 2)
    assert (second.state, second.exit_code) == ("failed", 2)
    assert "d.png" in second.error
    kept = found_rows(folder)
    assert len(kept) >= 2
    for name in "bd":
        (photos / f"{name}.png").write_bytes(whole)
    assert nursery.run(command).code == 0
    check_sound(folder, kept, 1)
    check_complete(folder, 2, 4)
    assert states(folder) == {"finished": 2}
