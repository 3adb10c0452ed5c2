"""Which jobs a command makes, without running any."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf

from tests import warm
from tests.conftest import ROOT
from treg_exp.configuration.identity import config_hash
from treg_exp.configuration.settings import prepared
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps import planning
from treg_exp.sweeps.manifest import Job, Sweep, varying
from treg_exp.sweeps.planning import Planner, check_folders, default_folder

BASE = ["experiment=single", "prior=tiny_random", "logger=csv"]


def planner(folder: Path, conf: Path = ROOT / "conf", *hydra: str) -> Planner:
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = ConfigLoaderImpl(create_config_search_path(str(conf)))
        config = loader.load_configuration("config", list(hydra), RunMode.MULTIRUN)
    return Planner(Sweep(folder), loader, config)


def test_combinations_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    """The other two are what the sweep says that it would do, and what it plans."""
    command = [sys.executable, "run.py", "-m", *BASE, "seed=0,1", "draws=1,2", "dry_run=true"]
    out = ["hydra.sweeper.leave_out=['seed=1 draws=2','seed=0 draws=2','seed=7']"]
    result = warm.run([*command, *out])
    assert result.stdout.count("restorations:") == 2
    for wrong, told in (
        ("sed=1", "sed=1: this grid has no such key"),
        ("seed=1 prior=tiny_randon", "prior=tiny_randon: no such option, only "),
        ("draws=1','draws=2", "leaves nothing to do"),
    ):
        result = warm.run([*command, f"hydra.sweeper.leave_out=['{wrong}']"], check=False)
        assert (result.returncode, told in result.stderr) == (2, True), result.stderr


def test_every_job_is_there_before_the_first_one_starts(tmp_path: Path) -> None:
    sweep = planner(tmp_path)
    jobs = sweep.plan([[*BASE, f"seed={seed}"] for seed in (0, 1, 2)])
    assert len({job.id for job in jobs}) == 3
    assert [job["id"] for job in json.loads((tmp_path / "sweep.json").read_text())["jobs"]] == [job.id for job in jobs]
    for seed, job in enumerate(jobs):
        cfg = OmegaConf.load(RunLayout(tmp_path / job.id).job)
        assert "hydra" not in cfg
        assert (cfg.seed, cfg.run_dir) == (seed, None)
        assert config_hash(prepared(cfg)) == job.id
        assert Sweep(tmp_path).status(job).state == "queued"
    assert varying(jobs) == {job.id: f"seed={seed}" for seed, job in enumerate(jobs)}


def test_a_known_job_is_not_composed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planner(tmp_path).plan([[*BASE, "seed=0"], [*BASE, "seed=1"]])
    later = planner(tmp_path)
    composed: list[object] = []
    compose = later.compose
    monkeypatch.setattr(later, "compose", lambda overrides: composed.append(overrides) or compose(overrides))
    jobs = later.plan([[*BASE, "seed=1"], [*BASE, "seed=2"]])
    assert composed == [[*BASE, "seed=2"]]
    assert jobs[0] == before[1]
    assert len(Sweep(tmp_path).jobs) == 3


def test_changed_files_are_noticed_and_planned_jobs_stay_as_they_were(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    for file in (ROOT / "conf").rglob("*.yaml"):
        target = conf / file.relative_to(ROOT / "conf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (first,) = planner(tmp_path / "sweep", conf).plan([BASE])
    file = conf / "task" / "sr_x8.yaml"
    text = file.read_text()
    assert "sigma: " in text
    file.write_text(text.replace("sigma: 0.01", "sigma: 0.02"))
    (second,) = planner(tmp_path / "sweep", conf).plan([BASE])
    assert first.id != second.id
    sigmas = [OmegaConf.load(RunLayout(tmp_path / "sweep" / job.id).job).task.noise.sigma for job in (first, second)]
    assert sigmas == [0.01, 0.02]


def test_what_files_take_from_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("x: ${oc.env:MY_DATA}\n")
    found = []
    for value in ("/a", "/b", "/a"):
        monkeypatch.setenv("MY_DATA", value)
        digest = planning.hashlib.sha256()
        planning._add(digest, tmp_path)
        found.append(digest.hexdigest())
    assert found[0] == found[2] != found[1]


def test_combinations_that_change_no_result_are_one_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(planner(tmp_path).plan([[*BASE, f"data.batch_size={n}"] for n in (1, 2, 4)])) == 1
    assert "note: 3 combinations are 1 jobs" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["guidance.scal=3", "+sede=1", "task=nowhere"])
def test_a_combination_that_cannot_be_composed_stops_all(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"scal|sede|nowhere"):
        planner(tmp_path).plan([BASE, [*BASE, wrong]])
    assert not (tmp_path / "sweep.json").exists()


def test_the_folder_of_a_sweep_that_nobody_named() -> None:
    """A grid may grow."""
    few, more, other = (
        default_folder([*BASE, value]) for value in ("guidance.scale=1,3", "guidance.scale=1,3,5", "seed=1,2")
    )
    assert few == more != other
    assert few.parent == Path("runs")
    assert default_folder([*BASE, "guidance.scale=1,3", "seed=1"]) != few


def test_jobs_get_their_folders_by_themselves() -> None:
    check_folders([["seed=1", "run_dir=a"], ["seed=2", "run_dir=a"]])
    with pytest.raises(ConfigError, match=r"^run_dir: with -m it is one folder"):
        check_folders([["run_dir=a"], ["run_dir=b"]])


def test_values_of_the_environment_are_part_of_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "prompt.text=${oc.env:MY_THING}"
    monkeypatch.setenv("MY_THING", "a ${red} apple")
    (apple,) = planner(tmp_path).plan([[*BASE, "prompt=fixed", text]])
    monkeypatch.setenv("MY_THING", "a pear")
    (pear,) = planner(tmp_path).plan([[*BASE, "prompt=fixed", text]])
    planned = [prepared(OmegaConf.load(RunLayout(tmp_path / job.id).job)) for job in (apple, pear)]
    assert [OmegaConf.to_container(cfg, resolve=True)["prompt"]["text"] for cfg in planned] == [
        "a ${red} apple",
        "a pear",
    ]
    assert [config_hash(cfg) for cfg in planned] == [apple.id, pear.id]


def test_what_is_planned_is_no_dry_run(tmp_path: Path) -> None:
    (job,) = planner(tmp_path).plan([[*BASE, "dry_run=true"]])
    assert OmegaConf.load(RunLayout(tmp_path / job.id).job).dry_run is False


def test_jobs_of_the_same_overrides_are_told_apart() -> None:
    first, second, third = Job("aa", ("seed=1",)), Job("bb", ("seed=1",)), Job("cc", ("seed=2",))
    assert varying([first, second, third]) == {"aa": "seed=1 aa", "bb": "seed=1 bb", "cc": "seed=2"}


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/x", ".hidden", "a/b", ""])
def test_a_job_stays_in_its_sweep(name: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": [{"id": name, "overrides": []}]}))
    with pytest.raises(ConfigError, match="is no name of a job"):
        Sweep(tmp_path)
