"""The program as a user runs it: `python run.py ...` in a process of its own, with the prior that ships."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import warm
from tests.conftest import DATA, ROOT
from tests.e2e import wandb_file
from tests.engine.plans import plan_of
from tests.proc import children, gone
from tests.test_config import VARIANTS
from treg_exp.engine.run_folder import RunFolder
from treg_exp.run_layout import read_rows

SMALL = ["solver.steps=4", "draws=1"]
SINGLE = ["experiment=single", "logger=csv", "metrics=residual"]
TINY = [f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "text_match=off", "logger=csv"]
Started = subprocess.Popen | warm.Popen


def start(*overrides: str, launcher: tuple[str, ...] = (), fresh: bool = False, **kwargs) -> Started:
    """With ``fresh`` or a launcher in an interpreter that has imported nothing yet, see tests/warm.py."""
    command = [sys.executable, *launcher, str(ROOT / "run.py"), *overrides]
    if not (fresh or launcher):
        return warm.Popen(command, **kwargs)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test in the background has it ignored
        **kwargs,
    )  # fmt: skip


def run(*overrides: str, code: int = 0, **kwargs) -> tuple[str, str]:
    process = start(*overrides, **kwargs)
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, f"{out}\n{err}"
    return out, err


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def lines(folder: Path) -> int:
    """Rows as written, with repetitions."""
    return sum(len(file.read_text().splitlines()) for file in (folder / "rows").glob("*.jsonl"))


def wait_for_rows(process: Started, folder: Path, count: int) -> None:
    while len(read_rows(folder) if folder.is_dir() else []) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    out, _ = run(*SMALL, f"run_dir={folder}", fresh=True)
    return folder, out


def test_quickstart_leaves_everything(quickstart) -> None:
    folder, out = quickstart
    assert (status(folder)["state"], status(folder)["finished"]) == ("finished", 24)
    rows = read_rows(folder)
    tasks = {r["sample_id"]: r["task"] for r in rows}
    assert sorted(tasks.values()) == ["colour"] * 2 + ["detail"] * 2 + ["missing_half"] * 2
    for sample, task in tasks.items():
        for name in ("target", "measurement", "pseudo_inverse", *(f"{v}/reconstruction" for v in ("own", "other_2"))):
            size = (4, 4) if (name, task) == ("measurement", "detail") else (64, 64)
            assert Image.open(folder / "samples" / sample / f"{name}.png").size == size
    for word in ("residual", "judge", "NFE", "no text", "own text", "another text", "a third text"):
        assert word in out
    assert {r["nfe"] for r in rows if r["variant"] == "own"} == {8}
    assert all(-1 <= r["judge_of_own"] <= 1 for r in rows)
    assert {r["judge_match"] for r in rows if r["variant"] == "no_text"} == {None}


def test_the_last_line_of_the_quickstart_is_its_result(quickstart) -> None:
    """Even at four steps the colours follow the text."""
    folder, out = quickstart
    last = out.splitlines()[-1]
    found = re.fullmatch(
        r"The judge picks the text that was given for (\d+) of 18 restorations: \d+ % \[\d+, \d+\], chance 33 %\.", last
    )
    assert found, last
    rows = [r for r in read_rows(folder) if r["judge_match"] is not None]
    assert (
        int(found[1])
        == sum(r["judge_match"] for r in rows)
        == json.loads((folder / "summary.json").read_text())["choice"]["matches"]
    )
    assert sum(r["judge_match"] for r in rows if r["task"] == "colour") >= 5


def test_the_measurement_is_explained(quickstart, tmp_path: Path) -> None:
    """Even at four steps TReg leaves far less than what the prior draws without looking at the measurement."""
    run(*SMALL, *SINGLE, "solver=unconditional", "task=gallery", "data=gallery", f"run_dir={tmp_path}/r")
    blind = {r["sample_id"]: r["residual"] for r in read_rows(tmp_path / "r")}
    treg = {r["sample_id"]: r["residual"] for r in read_rows(quickstart[0]) if r["variant"] == "own"}
    assert len(treg) == 6
    assert all(treg[sample] < blind[sample] / 3 for sample in treg), (treg, blind)


def test_the_pseudo_inverse_leaves_what_clamping_cuts_off(tmp_path: Path) -> None:
    """With A = 1 it returns y, and the noise that leaves the range of pictures is cut off.

    Of Gaussian noise on a value that lies d sigma below the end of the range, the part beyond the end has the mean
    square (1 + d^2) Q(d) - d phi(d): one half on white and on black.
    """
    run(
        *SINGLE,
        "data.limit=2",
        "task=denoising",
        "task.noise.sigma=0.01",
        "solver=pseudo_inverse",
        f"run_dir={tmp_path}/r",
    )
    for row in read_rows(tmp_path / "r"):
        target = np.asarray(Image.open(tmp_path / "r" / "samples" / row["sample_id"] / "target.png")) / 127.5 - 1
        d = (1 - np.abs(target)) / 0.01
        tail = np.vectorize(math.erfc)(d / math.sqrt(2)) / 2
        cut = (1 + d**2) * tail - d * np.exp(-(d**2) / 2) / math.sqrt(2 * math.pi)
        assert row["residual"] == pytest.approx(math.sqrt(cut.mean()), rel=0.05)


def test_quickstart_mirrors_to_wandb(quickstart) -> None:
    folder, _ = quickstart
    (offline,) = (folder / "wandb").glob("offline-run-*")
    found = wandb_file.read(offline)
    assert found["config"]["solver"]["steps"] == 4
    assert found["job_type"] == "predict"
    assert any(name.startswith("restorations_table") for name in found["history"])
    assert found["exit_code"] == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert found["summary"]["own/residual"] == pytest.approx(summary["variants"]["own"]["metrics"]["residual"]["mean"])
    # The pictures travel in the artifact of the table: its manifest names the local files, which must be in the folder.
    table = json.loads(found["files"]["restorations_table.table.json"].read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == 24
    for row in rows:
        file = found["files"][row["reconstruction"]["path"]]
        assert file.is_relative_to(folder / "wandb")
        thumbnail = Image.open(file)
        assert thumbnail.size == (row["reconstruction"]["width"], row["reconstruction"]["height"]) == (64, 64)
        saved = Image.open(folder / "samples" / row["sample_id"] / row["variant"] / "reconstruction.png")
        assert np.array_equal(np.asarray(thumbnail), np.asarray(saved))


def test_two_processes_give_the_same_results(quickstart, tmp_path: Path) -> None:
    folder, _ = quickstart
    run(*SMALL, f"run_dir={tmp_path}/r", "trainer.devices=2", "trainer.accelerator=cpu", "logger=csv")
    assert len(list((tmp_path / "r" / "rows").glob("rank-*.jsonl"))) == 2
    one, two = ({(r["sample_id"], r["variant"]): r for r in read_rows(f)} for f in (folder, tmp_path / "r"))
    assert one.keys() == two.keys()
    for (sample, variant), row in one.items():
        assert two[sample, variant]["judge_of_own"] == pytest.approx(row["judge_of_own"], abs=1e-3)
        a, b = (
            np.asarray(Image.open(f / "samples" / sample / variant / "reconstruction.png")).astype(int)
            for f in (folder, tmp_path / "r")
        )
        assert np.abs(a - b).max() <= 1


def test_more_processes_than_work(tmp_path: Path) -> None:
    run(*TINY, "solver.steps=2", "data.limit=1", "experiment=single", "trainer.devices=2", f"run_dir={tmp_path}/r")
    assert status(tmp_path / "r")["finished"] == 1


def test_an_outside_launcher_may_start_more_processes_than_there_is_work(tmp_path: Path) -> None:
    """As after an interruption near the end; the number of processes is then not ours to change."""
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    run(
        *TINY, "solver.steps=2", "data.limit=1", "experiment=single", "trainer.devices=2", "trainer.accelerator=cpu",
        f"run_dir={tmp_path}/r", launcher=launcher,
    )  # fmt: skip
    assert status(tmp_path / "r")["finished"] == lines(tmp_path / "r") == 1
    assert not list((tmp_path / "r").rglob("*.tmp"))


@pytest.mark.parametrize(
    ("stop", "processes", "code", "state"),
    [
        (signal.SIGINT, 1, 130, "interrupted"),
        pytest.param(signal.SIGINT, 2, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, 130, "interrupted", marks=pytest.mark.slow),
        (signal.SIGKILL, 2, -signal.SIGKILL, "running"),
    ],
)
def test_a_stopped_run_continues(tmp_path: Path, stop: signal.Signals, processes: int, code: int, state: str) -> None:
    folder = tmp_path / "r"
    command = [
        *TINY,
        *SINGLE[:1],
        *VARIANTS,
        "solver.steps=60",
        "data.limit=4",
        "data.batch_size=1",
        f"run_dir={folder}",
    ]
    process = start(*command, f"trainer.devices={processes}", "trainer.accelerator=cpu")
    wait_for_rows(process, folder, 2)
    workers = children(process)
    assert len(workers) == processes - 1
    os.kill(process.pid, stop)
    _, err = process.communicate(timeout=600)
    assert process.returncode == code
    assert "Traceback" not in err
    assert gone(*workers)
    before, written = read_rows(folder), status(folder)
    assert 2 <= len(before) < 12
    assert (written["state"], written["expected"], written["failed"]) == (state, 12, 0)
    assert written["finished"] == len(before) or stop is signal.SIGKILL
    if stop is not signal.SIGKILL:
        assert err.endswith("error: interrupted; the same command continues with what is missing\n")
    out, _ = run(*command)
    assert f"continuing {folder}: {len(before)} of 12 restorations are there" in out
    after = {(r["sample_id"], r["variant"]): r for r in read_rows(folder)}
    assert len(after) == lines(folder) == 12
    assert all(after[r["sample_id"], r["variant"]] == r for r in before)
    assert (status(folder)["state"], status(folder)["finished"]) == ("finished", 12)
    assert not list(folder.rglob("*.tmp"))


def test_a_lost_process_ends_the_run_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    command = [
        *TINY,
        *SINGLE[:1],
        *VARIANTS,
        "solver.steps=60",
        "data.limit=4",
        "data.batch_size=1",
        f"run_dir={folder}",
    ]
    process = start(*command, "trainer.devices=2", "trainer.accelerator=cpu")
    wait_for_rows(process, folder, 1)
    (worker,) = children(process)
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "error: process 1 of the run ended with code -9; the same command continues" in err
    assert "Traceback" not in err
    assert status(folder)["state"] == "failed"
    assert status(folder)["finished"] == lines(folder) < 12


def test_a_run_cannot_be_started_twice_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    first = RunFolder(folder, plan_of("a"))
    first.open({}, {})
    (folder / "identity.json").unlink()
    (folder / "config.yaml").unlink()
    _, err = run(*TINY, "data.limit=1", f"run_dir={folder}", code=2)
    assert (
        err == f"error: run_dir={folder} is being written by another process; wait for it, or choose another run_dir\n"
    )
    first.close()


def test_multirun_makes_one_folder_and_one_wandb_run_per_job(tmp_path: Path) -> None:
    sweep = ["-m", "guidance.scale=1,3", "experiment=single", *TINY, "logger=wandb", "solver.steps=2", "data.limit=1"]
    run(*sweep, f"run_dir={tmp_path}/out/sweep", cwd=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["sweep"]
    folders = sorted(p.parent for p in (tmp_path / "out" / "sweep").glob("*/status.json"))
    more = [".sweep.lock", "comparison.csv", "comparison.txt", "multirun.yaml", "sweep.json"]
    assert sorted(p.name for p in (tmp_path / "out" / "sweep").iterdir()) == sorted([*(f.name for f in folders), *more])
    assert len(folders) == 2
    assert all(status(f)["state"] == "finished" for f in folders)
    found = [wandb_file.read(next((f / "wandb").glob("offline-run-*"))) for f in folders]
    assert len({f["id"] for f in found}) == 2
    assert {f["config"]["guidance"]["scale"] for f in found} == {1, 3}
    assert {f["group"] for f in found} == {"sweep"}


@pytest.mark.slow
def test_jobs_of_a_multirun_may_need_different_numbers_of_processes(tmp_path: Path) -> None:
    sweep = ["-m", "data.limit=2,1", "experiment=single", *TINY, "data.batch_size=1", "solver.steps=2"]
    out, _ = run(*sweep, "trainer.devices=2", "trainer.accelerator=cpu", cwd=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]
    folders = [p.parent for p in (tmp_path / "runs").glob("sweep-*/*/status.json")]
    assert sorted(status(f)["finished"] for f in folders) == [1, 2]
    assert all(status(f)["finished"] == lines(f) for f in folders)
    assert out.count("results: runs/") == 2


def test_the_configuration_of_a_multirun_is_refused_in_one_line() -> None:
    out, err = run("-m", "--cfg", "job", "seed=1,2", code=2)
    assert out == ""
    assert err == "error: -m (--multirun), --cfg and --info exclude each other: `--cfg job` shows a single job\n"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["guidance.scal=3"], "error: guidance.scal: no such key; did you mean guidance.scale?"),
        (["experiment/best=treg_sr_x8"], "error: experiment/best: a folder of options; write experiment=best/<option>"),
        (["steps=20"], "error: steps: no such key; did you mean solver.steps?"),
        (["solver=quux"], "error: solver=quux: no such option. Available: adjoint, "),
        (["solver.prox={iterations:9}"], "error: solver.prox: has no such fields; add one with +solver.prox.<field>="),
        (["task=sr_x9"], "error: task=sr_x9: no such option; did you mean sr_x8? Available: "),
        (
            ["experiment=best/treg_sr_x99"],
            "error: experiment=best/treg_sr_x99: no such option; did you mean best/treg_sr_x8? Available: best/bey",
        ),
        (
            ["mode=fit", "recipe=emoji64/unett"],
            "error: recipe=emoji64/unett: no such option; did you mean emoji64/unet? Available: emoji64/autoencoder, ",
        ),
        (["solver/prox=foo"], "error: solver/prox=foo: no such option. Available: cg, cg_latino, descent, exact\n"),
        (
            ["experiment=singel"],
            "error: experiment=singel: no such option; did you mean single? Available: ",
        ),
        (["null_text=null"], "error: null_text=null: a group needs one of its options. Available: bounded, concepts, "),
        (
            ["metrics=null"],
            "error: metrics=null: a group needs one of its options ('~metrics' leaves it out). Available: ",
        ),
        (["guidance=3"], "error: guidance=3: a group needs one of its options. Available: cfgpp, composed, "),
        (["solver.steps=10,20"], "error: solver.steps=10,20: several values need -m, which makes a run of each\n"),
        (["prompt.text=hello"], "error: prompt.text: no such key with this option of the group, but with prompt=fixed"),
        (
            ["variants.own.guidance.scale=3"],
            "error: variants.own.guidance.scale: the variant does not have it yet; add",
        ),
        (
            ["variants.own.null_text=off"],
            "error: variants.own.null_text: the variant does not have it yet; add it with "
            "'+null_text@variants.own.null_text=<option>'\n",
        ),
        (["experiment=single", "task.noise.sigma=-1"], "error: task.noise.sigma=-1: noise level must be >= 0"),
        (["trainer.num_nodes=2"], "error: trainer.num_nodes=2: start one process per device, with srun or torchrun"),
        (["prior=diffusers_dir"], "error: prior.path has no value: add prior.path=... to the command"),
    ],
)
def test_wrong_input_is_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    as_users_start_it = overrides == ["steps=20"]
    out, err = run(*overrides, f"run_dir={tmp_path}/r", code=2, fresh=as_users_start_it)
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "r").exists()


def test_help_into_a_pipe_that_is_closed_ends_quietly() -> None:
    command = f"{sys.executable} run.py --help | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("R", "")


def test_help_is_quick_and_explains_the_groups() -> None:
    """In seconds of the processor: those of the clock double beside another test that uses both cores."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out, _ = run("--help", fresh=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 2
    for text in ("task: ", "prompt=fixed prompt.text=", "-m experiment=single guidance.scale=1,3,5,7.5"):
        assert text in out
