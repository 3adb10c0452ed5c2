"""Searches from end to end, with the tiny model."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests import warm
from tests.conftest import DATA, ROOT
from treg_exp.engine.status import read_status
from treg_exp.run_layout import key_of, read_rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")
TINY = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "logger=csv", "experiment=single",
    "metrics=residual", "solver.steps=3", "data.limit=3", "data.batch_size=1", "trainer.accelerator=cpu",
]  # fmt: skip
SEARCH = ["-m", *TINY, "hydra/sweeper=optuna_search", "hydra/launcher=in_process", "hydra.sweeper.sampler=random"]
RESIDUAL = "hydra.sweeper.objectives={residual:minimize}"
SCALE = "guidance.scale=interval(1,8)"


def start(*arguments: str) -> warm.Popen:
    return warm.Popen([sys.executable, "run.py", *arguments])


def run(*arguments: str) -> tuple[int | None, str]:
    """Exit code, and what was printed."""
    program = start(*arguments)
    said = program.told()
    return program.returncode, said


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def n_trials(count: int) -> str:
    return f"hydra.sweeper.n_trials={count}"


def mean(run: Path, column: str) -> float:
    values = [row[column] for row in read_rows(run)]
    return sum(values) / len(values)


def lines(run: Path) -> list[str]:
    return [line for file in sorted((run / "rows").glob("*")) for line in file.read_text().splitlines()]


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_same_command_goes_on_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    code, said = run(*SEARCH, SCALE, RESIDUAL, n_trials(2), f"run_dir={folder}")
    assert code == 0, said
    first = trials(folder)
    kept = {file: file.read_bytes() for file in folder.glob("*/rows/*")}
    assert [trial["state"] for trial in first] == ["finished"] * 2
    assert len(kept) == 2
    code, said = run(*SEARCH, SCALE, RESIDUAL, n_trials(4), f"run_dir={folder}", "hydra.sweeper.n_jobs=3")
    assert code == 0, said
    assert "2 finished of 4 trials" in said
    found = trials(folder)
    assert [{**trial, "seconds": ""} for trial in found[:2]] == [{**trial, "seconds": ""} for trial in first]
    assert {file: file.read_bytes() for file in kept} == kept
    assert len({trial["guidance.scale"] for trial in found}) == len({trial["folder"] for trial in found}) == 4
    for trial in found:
        assert 1 <= float(trial["guidance.scale"]) <= 8
        assert float(trial["own/residual"]) == pytest.approx(mean(folder / trial["folder"], "residual"), abs=1e-12)
        assert OmegaConf.load(folder / trial["folder"] / "job.yaml").guidance.scale == float(trial["guidance.scale"])
    (best,) = OmegaConf.load(folder / "best.yaml").best
    expected = min(found, key=lambda trial: float(trial["own/residual"]))
    assert (str(best.trial), best.folder) == (expected["trial"], expected["folder"])
    planned = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert [job["id"] for job in planned] == [trial["folder"] for trial in found]
    python, program, *overrides = shlex.split(best.command)
    code, said = run(*overrides, f"run_dir={folder / best.folder}")
    assert (python, program, code) == ("python", "run.py", 0), said
    assert "nothing to do" in said  # it is the same run


def test_what_a_killed_search_has_computed_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [*SEARCH, SCALE, RESIDUAL, n_trials(3), f"run_dir={folder}", "data.limit=6"]
    kept: dict[Path, list[str]] = {}
    # In the middle of the first trial, and of the second.
    for rows, how, code, state in (2, signal.SIGKILL, -9, "stale"), (9, signal.SIGINT, 130, "interrupted"):
        program = start(*command)
        until(lambda rows=rows: sum(len(lines(run.parent)) for run in folder.glob("*/rows")) >= rows)
        os.kill(program.pid, how)
        assert program.wait() == code, program.told()
        assert all(lines(run)[: len(before)] == before for run, before in kept.items())
        kept = {run.parent: lines(run.parent) for run in folder.glob("*/rows")}
        assert [read_status(run).state for run in kept].count(state) == 1
    code, said = run(*command)
    assert code == 0, said
    assert "continuing" in said
    found = trials(folder)
    assert [trial["state"] for trial in found] == ["finished"] * 3
    assert all(lines(run)[: len(before)] == before for run, before in kept.items())
    for trial in found:
        assert len(lines(folder / trial["folder"])) == len({key_of(row) for row in read_rows(folder / trial["folder"])})
        assert trial["restorations"] == "6"
    assert len({trial["folder"] for trial in found}) == 3


def test_two_workers_share_one_study(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [*SEARCH, SCALE, RESIDUAL, n_trials(5), f"run_dir={folder}"]
    workers = [start(*command) for _ in range(2)]
    said = [worker.told() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert all("job 1 of 1" in each for each in said)  # both had something to do
    assert run(*command)[0] == 0
    found = trials(folder)
    assert [trial["trial"] for trial in found] == [str(number) for number in range(5)]
    assert {trial["state"] for trial in found} == {"finished"}
    assert len({trial["guidance.scale"] for trial in found}) == 5  # the same seed, and not the same numbers
    assert all(len(lines(folder / trial["folder"])) == 3 for trial in found)
    assert not list((folder / ".workers").iterdir())


def test_a_run_that_does_worse_ends_early(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [
        *SEARCH, "solver.steps=2,4,3,1", "hydra.sweeper.objectives={nfe:minimize}", "hydra.sweeper.sampler=grid",
        "hydra.sweeper.pruner=median", "hydra.sweeper.pruner_after_trials=1", "hydra.sweeper.pruner_after_samples=2",
        f"run_dir={folder}",
    ]  # fmt: skip
    code, said = run(*command)
    assert code == 0, said
    found = trials(folder)
    assert [trial["state"] for trial in found] == ["finished", "pruned", "pruned", "finished"]
    assert [trial["restorations"] for trial in found] == ["3", "2", "2", "3"]
    assert "after 2 samples own/nfe is 8, others do better" in said
    pruned = folder / found[1]["folder"]
    assert read_status(pruned).state == "pruned"
    assert json.loads((pruned / "status.json").read_text())["exit_code"] == 0
    assert [best.trial for best in OmegaConf.load(folder / "best.yaml").best] == [3]
    assert "error" not in run(*command)[1]  # it is no failure, and left alone
    assert len(lines(pruned)) == 2
    code, said = run(*TINY, "solver.steps=4", f"run_dir={pruned}")  # outside the search
    assert code == 0, said
    assert (len(lines(pruned)), read_status(pruned).state) == (3, "finished")


def test_two_objectives_have_a_front(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    code, said = run(
        *SEARCH, "solver.steps=1,2,4", "guidance.scale=1,8", "hydra.sweeper.sampler=grid", f"run_dir={folder}",
        "hydra.sweeper.objectives={own/residual:minimize,nfe:minimize}",
    )  # fmt: skip
    assert code == 0, said
    points = {trial["trial"]: (float(trial["own/residual"]), float(trial["own/nfe"])) for trial in trials(folder)}
    assert len(points) == 6
    front = {
        name
        for name, (a, b) in points.items()
        if not any((c <= a and d <= b and (c, d) != (a, b)) for c, d in points.values())
    }
    assert {str(best.trial) for best in OmegaConf.load(folder / "best.yaml").best} == front
    assert f"Pareto front, {len(front)} trials" in said


def test_a_trial_may_be_several_runs_and_their_mean(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [*SEARCH, "guidance.scale=1,4", "hydra.sweeper.sampler=grid", RESIDUAL, f"run_dir={folder}"]
    over = ["hydra.sweeper.average_over={seed: '0,1,2'}"]
    code, said = run(*command, *over)
    assert code == 0, said
    found = trials(folder)
    assert [trial["guidance.scale"] for trial in found] == ["1", "4"]
    for trial in found:
        runs = [folder / name for name in trial["folder"].split()]
        assert [OmegaConf.load(run / "config.yaml").seed for run in runs] == [0, 1, 2]
        expected = sum(mean(run, "residual") for run in runs) / 3
        assert float(trial["own/residual"]) == pytest.approx(expected, rel=1e-9)
    (best,) = OmegaConf.load(folder / "best.yaml").best
    assert best.overrides[-1] == f"guidance.scale={found[int(best.trial)]['guidance.scale']}"
    assert len(best.folders) == 3
    code, said = run(*command, "hydra.sweeper.average_over={seed: '0,1'}")  # another search
    assert code == 2, said
    assert "holds a search with space seed: mean over 0, 1, 2, this one has seed: mean over 0, 1" in said
    code, said = run(*command, *over, "seed=0,1")
    assert code == 2, said
    assert "seed=0,1: hydra.sweeper.average_over.seed says which ones" in said


def test_a_trial_that_fails_ends_no_search_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [*SEARCH, "solver.steps=2,0,1", RESIDUAL, "hydra.sweeper.sampler=grid", f"run_dir={folder}"]
    code, said = run(*command)
    assert code == 2, said
    assert [trial["state"] for trial in trials(folder)] == ["finished", "failed", "finished"]
    assert "solver.steps=0" in trials(folder)[1]["error"]
    code, said = run(*command)
    assert code == 2, said
    assert [(trial["trial"], trial["state"]) for trial in trials(folder)] == [
        ("0", "finished"), ("2", "finished"), ("3", "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["hydra.sweeper.objectives={residul:minimize}"], "objectives.residul: no such column; did you mean residual?"),
        ([RESIDUAL, "solver=tregg,treg"], "tregg"),
        ([RESIDUAL, "hydra.sweeper.pruner=medain"], "hydra.sweeper.pruner=medain: must be one of none, median"),
    ],
    ids=["objective", "option", "pruner"],
)
def test_wrong_input_is_refused_before_anything_is_written(tmp_path: Path, wrong: list[str], told: str) -> None:
    folder = tmp_path / "s"
    code, said = run(*SEARCH, SCALE, n_trials(2), f"run_dir={folder}", *wrong)
    assert (code, told in said) == (2, True), said
    assert not folder.exists()


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = [*SEARCH, SCALE, "solver.steps=range(1,4)", RESIDUAL, n_trials(3), f"run_dir={folder}"]
    code, said = run(*command, "dry_run=true")
    assert code == 0, said
    assert not folder.exists()
    told = [line for line in said.splitlines() if line.startswith("trial ")]
    assert len(told) == 3
    assert "minimize own/residual" in said
    assert "network evaluations" in said
    code, said = run(*command)
    assert [
        line.partition("  (")[0] for line in said.splitlines() if " guidance.scale=" in line and line[0] == "t"
    ] == told


def test_the_example_of_wandb_gives_commands_that_run() -> None:
    """Its server is not here: the arguments are made as its agent makes them."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = OmegaConf.to_container(OmegaConf.load(ROOT / "docs" / "examples" / "wandb_sweep.yaml"), resolve=False)
    tried = {"guidance.scale": {"value": 3.25}, "solver.steps": {"value": 50}}
    assert tried.keys() == sweep["parameters"].keys()
    assert sweep["command"][:3] == ["${env}", "python", "${program}"]
    assert sweep["program"] == "run.py"
    arguments = create_sweep_command_args({"args": tried})["args_no_hyphens"]
    command = [part for chunk in sweep["command"][3:] for part in (arguments if "args_" in chunk else [chunk])]
    tiny = [part for part in TINY if part.partition("=")[0] in ("prior.path", "data.image_size", "null_text")]
    code, said = run(*command, *tiny, "dry_run=true")
    assert code == 0, said
    assert "TReg, 50 steps" in said
    assert "restorations: 24" in said


def test_a_finished_search_is_looked_through_without_torch(tmp_path: Path) -> None:
    command = [*SEARCH, SCALE, RESIDUAL, n_trials(1), f"run_dir={tmp_path / 's'}"]
    assert run(*command)[0] == 0
    again = f"""
import runpy, sys
sys.argv = ["run.py", *{command}]
try:
    runpy.run_path("run.py", run_name="__main__")
except SystemExit as end:
    assert not end.code
print(sorted({{"torch", "lightning"}} & set(sys.modules)))
"""
    told = subprocess.run([sys.executable, "-c", again], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
    assert "best trial" in told.stdout


def test_a_search_waits_for_its_jobs(tmp_path: Path) -> None:
    command = [*SEARCH, SCALE, RESIDUAL, n_trials(1), f"run_dir={tmp_path / 's'}"]
    code, said = run(*command, "hydra/launcher=slurm", "hydra.launcher.wait=false")
    assert (code, "hydra.launcher.wait=false: not with a search" in said) == (2, True), said
