"""The program as a user runs it: `python run.py ...` in a process of its own, with the prior that ships."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DATA, ROOT
from tests.e2e import wandb_file
from treg_exp.reports import read_rows

SMALL = ["solver.steps=4", "data.limit=2"]
TINY = [f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "logger=csv"]


def start(*overrides: str, **kwargs) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "run.py"), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)


def run(*overrides: str, code: int = 0, **kwargs) -> tuple[str, str]:
    process = start(*overrides, **kwargs)
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, f"{out}\n{err}"
    return out, err


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    out, _ = run(*SMALL, f"run_dir={folder}")
    return folder, out


def test_quickstart_leaves_everything(quickstart) -> None:
    folder, out = quickstart
    assert (status(folder)["state"], status(folder)["finished"]) == ("finished", 6)
    for sample in (folder / "samples").iterdir():
        for name in ("target", "measurement", "pseudo_inverse", *(f"{v}/reconstruction" for v in ("own", "no_text"))):
            size = (8, 8) if name == "measurement" else (64, 64)
            assert Image.open(sample / f"{name}.png").size == size
    for word in ("PSNR", "SSIM", "residual", "align", "NFE", "no text", "own text", "counterfactual text"):
        assert word in out
    rows = read_rows(folder)
    assert {r["nfe"] for r in rows if r["variant"] == "own"} == {8}
    assert all(-1 <= r["align_own"] <= 1 for r in rows)
    # Four steps leave strong overshoots that clamping cuts; 6 to 13 were measured, an unrelated image has over 40.
    assert all(r["residual"] < 20 for r in rows)


def test_quickstart_mirrors_to_wandb(quickstart) -> None:
    folder, _ = quickstart
    (offline,) = (folder / "wandb").glob("offline-run-*")
    found = wandb_file.read(offline)
    assert found["config"]["solver"]["steps"] == 4
    assert found["job_type"] == "predict"
    assert any(name.startswith("restorations_table") for name in found["history"])
    assert found["exit_code"] == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert found["summary"]["own/psnr"] == pytest.approx(summary["variants"]["own"]["metrics"]["psnr"]["mean"])
    (table,) = (offline / "files" / "media" / "table").glob("*.json")
    data = json.loads(table.read_text())["data"]
    assert len(data) == 6
    assert all(row[-1] == "Image" for row in data)  # W&B keeps the pixels in the run's artifact


def test_two_processes_give_the_same_results(quickstart, tmp_path: Path) -> None:
    folder, _ = quickstart
    run(*SMALL, f"run_dir={tmp_path}/r", "trainer.devices=2", "trainer.accelerator=cpu", "logger=csv")
    assert len(list((tmp_path / "r" / "rows").glob("rank-*.jsonl"))) == 2
    one, two = ({(r["sample_id"], r["variant"]): r for r in read_rows(f)} for f in (folder, tmp_path / "r"))
    assert one.keys() == two.keys()
    for (sample, variant), row in one.items():
        assert two[sample, variant]["psnr"] == pytest.approx(row["psnr"], abs=1e-3)
        a, b = (
            np.asarray(Image.open(f / "samples" / sample / variant / "reconstruction.png")).astype(int)
            for f in (folder, tmp_path / "r")
        )
        assert np.abs(a - b).max() <= 1


def test_more_processes_than_work(tmp_path: Path) -> None:
    run(*TINY, "solver.steps=2", "data.limit=1", "experiment=single", "trainer.devices=2", f"run_dir={tmp_path}/r")
    assert status(tmp_path / "r")["finished"] == 1


def test_a_killed_run_continues(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    command = [*TINY, "solver.steps=60", "data.limit=4", "data.batch_size=1", f"run_dir={folder}"]
    process = start(*command)
    while len(read_rows(folder) if folder.is_dir() else []) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = read_rows(folder)
    assert 2 <= len(before) < 12
    assert status(folder)["state"] == "running"
    run(*command)
    after = {(r["sample_id"], r["variant"]): r for r in read_rows(folder)}
    assert len(after) == 12
    assert all(after[r["sample_id"], r["variant"]] == r for r in before)
    assert status(folder)["state"] == "finished"
    assert not list(folder.rglob("*.tmp"))


def test_multirun_makes_one_folder_and_one_wandb_run_per_job(tmp_path: Path) -> None:
    sweep = ["-m", "guidance.scale=1,3", "experiment=single", *TINY, "logger=wandb", "solver.steps=2", "data.limit=1"]
    run(*sweep, f"run_dir={tmp_path}/sweep")
    folders = sorted(p.parent for p in (tmp_path / "sweep").glob("*/status.json"))
    assert len(folders) == 2
    assert all(status(f)["state"] == "finished" for f in folders)
    found = [wandb_file.read(next((f / "wandb").glob("offline-run-*"))) for f in folders]
    assert len({f["id"] for f in found}) == 2
    assert {f["config"]["guidance"]["scale"] for f in found} == {1, 3}
    assert len({f["group"] for f in found}) == 1
    assert found[0]["group"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["guidance.scal=3"], "error: guidance.scal: no such key; did you mean guidance.scale?"),
        (["steps=20"], "error: steps: no such key; did you mean solver.steps?"),
        (["task=sr_x9"], "error: task=sr_x9: no such option; did you mean sr_x8? Available: box_inpainting"),
        (["task.noise.sigma=-1"], "error: task.noise.sigma=-1: noise level must be >= 0"),
        (["prior=diffusers_dir"], "error: prior.path has no value: add prior.path=... to the command"),
    ],
)
def test_wrong_input_is_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    out, err = run(*overrides, f"run_dir={tmp_path}/r", code=2)
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "r").exists()


def test_help_is_quick_and_explains_the_groups() -> None:
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        out, _ = run("--help")
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 2
    for text in ("task: box_inpainting", "prompt=fixed prompt.text=", "-m experiment=single guidance.scale=1,3,5,7.5"):
        assert text in out
