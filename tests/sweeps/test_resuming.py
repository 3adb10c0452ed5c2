"""What a sweep's folder may say about the way in which its jobs are started."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps import resuming
from treg_exp.sweeps.manifest import Job, Sweep


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run."""
    found: list[list[str]] = []
    monkeypatch.setattr(resuming, "run_program", lambda arguments: found.append(list(arguments)) or 0)
    return found


def sweep(folder: Path, *launching: str) -> None:
    Sweep(folder).add([Job("a", ("seed=0",))], launching)


def test_jobs_are_started_as_the_last_time_or_otherwise(tmp_path: Path, commands: list[list[str]]) -> None:
    sweep(tmp_path, "hydra/launcher=slurm", "hydra.launcher.partition=gpu")
    resuming.resume(tmp_path)
    resuming.resume(tmp_path, ["hydra.launcher.partition=cpu"])
    resuming.resume(tmp_path, ["hydra/launcher=in_process"])
    start = ["-m", "hydra/sweeper=resume", f'run_dir="{tmp_path}"']
    assert commands == [
        [*start, "hydra/launcher=slurm", "hydra.launcher.partition=gpu"],
        [*start, "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.partition=cpu"],
        [*start, "hydra/launcher=in_process"],
    ]


@pytest.mark.parametrize(
    "foreign", ["--config-dir=/tmp/x", "hydra.searchpath=[pkg://x]", "hydra.job.env_set.A=1", "seed=1"]
)
def test_a_file_cannot_say_more(foreign: str, tmp_path: Path, commands: list[list[str]]) -> None:
    sweep(tmp_path, foreign)
    with pytest.raises(ConfigError, match="resuming changes no settings"):
        resuming.resume(tmp_path)
    assert commands == []


def test_commands_of_a_job_are_taken_from_the_command_line_alone(tmp_path: Path, commands: list[list[str]]) -> None:
    sweep(tmp_path, "hydra/launcher=slurm", "hydra.launcher.setup=['touch x']")
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.setup: was said on the command line then"):
        resuming.resume(tmp_path)
    assert commands == []
    resuming.resume(tmp_path, ["hydra.launcher.setup=['module load cuda']"])
    assert commands[0][-1] == "hydra.launcher.setup=['module load cuda']"


def test_what_is_no_sweep(tmp_path: Path, commands: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match="neither a run nor a sweep"):
        resuming.resume(tmp_path)


def test_any_name_of_a_folder(tmp_path: Path, commands: list[list[str]]) -> None:
    sweep(folder := tmp_path / "a, (b) = ${c}")
    resuming.resume(folder)
    (run_dir,) = (each for each in commands[0] if each.startswith("run_dir="))
    parsed = OverridesParser.create().parse_overrides([run_dir])[0]
    assert OmegaConf.create({"x": parsed.value()}).x == str(folder)


def test_a_single_run_takes_no_launcher(tmp_path: Path, commands: list[list[str]]) -> None:
    RunLayout(tmp_path).job.write_text("seed: 0\n")
    with pytest.raises(ConfigError, match=r"^hydra/launcher=slurm: .* is a single run"):
        resuming.resume(tmp_path, ["hydra/launcher=slurm"])
    assert commands == []
