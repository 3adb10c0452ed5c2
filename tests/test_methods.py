"""The methods of conf/method: every one is tuned alike, costs as much, and runs on the tasks of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from tests import warm
from tests.conftest import ROOT
from tests.test_config import composed
from treg_exp.cli import main
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment
from treg_exp.findings.collection import flat
from treg_exp.run_layout import read_rows
from treg_exp.sweeps.search.space import read_space

CONF = ROOT / "conf"
BENCHMARK = OmegaConf.load(CONF / "experiment/benchmark/solvers.yaml").hydra.sweeper
AT_EQUAL_SECONDS = OmegaConf.load(CONF / "experiment/benchmark/solvers_timed.yaml").hydra.sweeper
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
TIMED = sorted(path.stem for path in (CONF / "method/timed").glob("*.yaml"))
OF_PIXELS = [name for name in METHODS if "emoji64_pixel" in (CONF / f"method/{name}.yaml").read_text()]
FEWER = ("steps", "rounds", "every", "data_steps", "mcmc_steps", "iterations")  # what takes less time
SHARED = CONF / "experiment/tuning/shared.yaml"
EVALUATIONS = 50


def settings(*overrides: str) -> dict[str, object]:
    """Composed values by dotted key."""
    return dict(flat(OmegaConf.to_container(composed(*overrides))))


def listed(key: str) -> list[str]:
    return str(BENCHMARK.params[key]).split(",")


def test_the_benchmark_has_every_method() -> None:
    assert sorted(listed("method")) == METHODS


@pytest.mark.parametrize("task", ["sr_x8", "motion_deblur", "phase_retrieval"])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_cannot_solve_is_left_out_and_nothing_else(method: str, task: str) -> None:
    out = f"task={task} method={method}" in BENCHMARK.leave_out
    cfg = composed("experiment=benchmark/solvers", f"method={method}", f"task={task}", "data.limit=1")
    if out:
        with pytest.raises(ConfigError, match=r"linear|singular values"):
            Experiment.from_config(cfg)
    else:
        Experiment.from_config(cfg)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_by_itself(method: str) -> None:
    """Nothing else has to be given, such as which metrics its prior has."""
    Experiment.from_config(composed("experiment=single", f"method={method}", "data.limit=1"))


def test_the_references_of_signal_space_have_the_prior_of_pixels() -> None:
    assert OF_PIXELS == ["ddnm", "ddrm", "diffpir", "dps", "projdiff", "red_diff"]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "pseudo_inverse"])
def test_every_method_is_tuned_with_the_same_trials_pictures_and_tasks(method: str) -> None:
    file = CONF / "experiment/tuning" / f"{method}.yaml"
    own = OmegaConf.load(file)
    assert own.defaults == ["tuning/shared", {"/method@_global_": method}]
    assert list(own.hydra.sweeper) == ["params"]  # nothing else may differ
    parsed = OverridesParser.create().parse_overrides(
        [f"{key}={value}" for key, value in own.hydra.sweeper.params.items()]
    )
    assert all(each.is_sweep_override() for each in parsed)
    space = read_space([str(each.input_line) for each in parsed])
    for at in (0, -1):  # all of its values are of the kind that the method takes
        listed = {key: each.values() or [each.middle()] for key, each in space.dimensions.items()}
        ends = {key: values[at] for key, values in listed.items()}
        Experiment.from_config(composed(f"experiment=tuning/{method}", *space.overrides(ends)))


def test_at_equal_seconds_every_method_is_compared_that_takes_longer_or_has_latents() -> None:
    compared = str(AT_EQUAL_SECONDS.params.method).replace("timed/", "").split(",")
    assert sorted([*TIMED, "treg", "pseudo_inverse"]) == sorted(compared)
    unneeded = {*OF_PIXELS} - {*TIMED}  # they take TReg's time as they are
    assert compared == [name for name in listed("method") if name not in unneeded]
    left_out = [out for out in BENCHMARK.leave_out if out.partition("method=")[2] not in unneeded]
    assert [out.replace("timed/", "") for out in AT_EQUAL_SECONDS.leave_out] == left_out


@pytest.mark.parametrize("method", TIMED)
def test_a_timed_method_has_fewer_steps_and_settings_of_its_own_search(method: str) -> None:
    """The keys that its tuning searches, and nothing else."""
    full, timed = (settings("experiment=single", f"method={name}") for name in (method, f"timed/{method}"))
    searched = OmegaConf.load(CONF / "experiment/tuning" / f"{method}.yaml").hydra.sweeper.params
    for key in full.keys() | timed.keys():
        if full.get(key) != timed.get(key) and key not in searched:
            assert key == "method" or key.split(".")[-1] in FEWER, key
            assert key == "method" or timed[key] < full[key]
    assert timed["method"] == f"{full['method']} (timed)"
    trial = settings(f"experiment=tuning/{method}", f"method=timed/{method}")
    assert {key: trial[key] for key in timed if key.startswith(("method", "solver", "guidance"))} == {
        key: value for key, value in timed.items() if key.startswith(("method", "solver", "guidance"))
    }


@pytest.mark.parametrize(
    ("experiment", "group"),
    [
        ("quickstart", "solver"),
        ("edit", "solver"),
        ("best/treg_sr_x16", "solver"),
        ("released/treg", "guidance"),
        ("study/rules", "solver"),
    ],
)
def test_a_method_and_an_experiment_of_another_one_are_refused(experiment: str, group: str) -> None:
    command = [sys.executable, "run.py", f"experiment={experiment}", "method=daps", "dry_run=true"]
    told = warm.run(command, check=False)
    assert told.returncode == 2
    assert told.stderr == (
        f"error: method=daps: experiment={experiment} sets {group} itself, which belongs to the method; "
        "take experiment=single\n"
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_method_counts_more_than_the_experiment(method: str) -> None:
    """A study of text changes nothing of it, whatever defaults it has."""
    alone, study = (composed(f"experiment={name}", f"method={method}") for name in ("single", "study/treg"))
    for key in ("method", "solver", "prior", "guidance", "null_text", "prompt_rule", "text_match"):
        assert alone[key] == study[key], key


def test_settings_are_chosen_on_other_pictures_than_they_are_reported_on() -> None:
    cfg = composed("experiment=tuning/treg")
    tuned = Experiment.from_config(cfg)
    reported = Experiment.from_config(composed("experiment=benchmark/solvers", "method=treg", "task=sr_x8"))
    assert (len(tuned.source), len(reported.source)) == (cfg.data.limit, 100)
    assert not {one.split("-", 1)[1] for one in tuned.source.ids} & set(reported.source.ids)


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in METHODS if name != "pseudo_inverse"])
def test_a_method_takes_as_many_evaluations_as_the_others(method: str, tmp_path: Path) -> None:
    """On super-resolution; within two of the budget."""
    command = [sys.executable, "run.py", "-m", "experiment=benchmark/solvers", f"method={method}", "task=sr_x8"]
    warm.run([*command, "data.limit=1", f"run_dir={tmp_path}"])
    (run,) = (path.parent for path in tmp_path.glob("*/results.csv"))
    (row,) = read_rows(run)
    assert abs(row["nfe"] - EVALUATIONS) <= 2


def test_a_small_benchmark_from_the_command_to_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "run.py", "-m", "experiment=benchmark/solvers", "data.limit=2", f"run_dir={tmp_path}"]
    warm.run([*command, "task=colourisation", "method=pseudo_inverse,latino,treg"])
    assert main(["benchmark", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    rows = [
        line.split(" | ")[0].strip("| ") for line in page.split("## colourisation")[1].splitlines() if line[:2] == "| "
    ]
    assert rows == ["method", "TReg", "A^+ y", "LATINO", "less TReg", "A^+ y", "LATINO"]
    assert "colourisation: all runs restored the same measurements (" in page
