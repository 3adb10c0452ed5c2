"""From lists of overrides to jobs: every configuration is composed once, and kept as it was then."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from treg_exp.errors import ConfigError
from treg_exp.files import write_text
from treg_exp.quoting import literal
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.manifest import IGNORED_OVERRIDES, Job, Sweep, make_sweep_folder

MANY = 50  # jobs from which on a user is told what takes so long
ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")


class Planner:
    """Plans the jobs of a sweep.

    A job whose inputs (its overrides, and the files of the configuration) are those of an earlier command is known
    by them: nothing is composed, and nothing heavy imported.

    Args:
        sweep: where the jobs are noted.
        loader: Hydra's.
        config: as Hydra has composed it for the sweep.
    """

    def __init__(self, sweep: Sweep, loader: ConfigLoader, config: DictConfig) -> None:
        self.sweep, self.loader, self.config = sweep, loader, config

    @property
    def files(self) -> str:
        """Hash of all files that a configuration may be composed from, and of what they take from the environment."""
        return _configuration_files(self.loader)

    def hash_of(self, overrides: Sequence[str]) -> str:
        """Hash of the configuration that these overrides make; it names a job."""
        return _name(self.compose(overrides))

    def plan(self, combinations: Sequence[Sequence[str]]) -> list[Job]:
        """The jobs of these combinations of overrides, all noted in the manifest.

        Raises:
            ConfigError: one of them cannot be composed, or two of them cannot be told apart.
        """
        files = self.files
        there = (job for job in self.sweep.jobs.values() if RunLayout(self.sweep.folder(job)).job.is_file())
        known = {job.inputs: job for job in there}  # a folder that was deleted is planned anew
        inputs = [_hash(files, combination) for combination in combinations]
        new = [i for i, value in enumerate(inputs) if value not in known]
        if len(new) > MANY:
            print(f"planning {len(new)} jobs", flush=True)
        for i in new:
            known[inputs[i]] = self._compose(combinations[i], inputs[i])
        jobs = {known[value].id: known[value] for value in inputs}
        if len(jobs) < len(inputs):
            same = "the others differ in nothing that changes results"
            print(f"note: {len(inputs)} combinations are {len(jobs)} jobs; {same}", flush=True)
        launching = [f"hydra/launcher={self.config.hydra.runtime.choices['hydra/launcher']}"]
        launching += [each for each in self.config.hydra.overrides.hydra if "hydra.launcher." in each.partition("=")[0]]
        if new or self.sweep.launching != tuple(launching):
            self.sweep.add([known[inputs[i]] for i in new], launching)
        return list(jobs.values())

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of one job, without Hydra's own part and without a folder.

        Raises:
            HydraException: (and others of Hydra) it cannot be composed.
        """
        composed = self.loader.load_sweep_config(self.config, list(overrides))
        cfg: DictConfig = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        OmegaConf.set_struct(cfg, False)
        cfg.run_dir = None
        return cfg

    def _compose(self, overrides: Sequence[str], inputs: str) -> Job:
        cfg = _with_environment(self.compose(overrides))
        cfg.dry_run = False  # what is planned is also done
        job = Job(_name(cfg), tuple(overrides), inputs)
        layout = RunLayout(self.sweep.folder(job))
        text = OmegaConf.to_yaml(cfg)
        with suppress(OSError, UnicodeDecodeError):
            if layout.job.read_text(encoding="utf-8") == text:
                return job  # by another process, that may have begun the job and tidies its folder up
        write_text(layout.job, text)
        return job


def open_sweep(
    context: HydraContext, config: DictConfig, arguments: Sequence[str], default: Path | None = None
) -> tuple[Sweep, Planner]:
    """The sweep of a command, and who plans its jobs.

    Args:
        context: Hydra's.
        config: as Hydra has composed it for the sweep.
        arguments: overrides of the command, with their lists of values.
        default: the folder where no run_dir is given; that of a grid unless it is said.

    Raises:
        ConfigError: its folder cannot be written, or is damaged.
    """
    path = sweep_path(config, arguments, default)
    make_sweep_folder(path)
    sweep = Sweep(path)
    write_text(path / "multirun.yaml", OmegaConf.to_yaml(config))  # what Hydra's users expect to find
    return sweep, Planner(sweep, context.config_loader, config)


def no_sweep(context: HydraContext, config: DictConfig) -> Planner:
    """Composes configurations for a look; nothing is written."""
    return Planner(Sweep(Path(os.devnull) / "none"), context.config_loader, config)


def sweep_path(config: DictConfig, arguments: Sequence[str], default: Path | None = None) -> Path:
    """The folder of the sweep of a command; the arguments are those of `open_sweep`."""
    return Path(config.run_dir) if config.run_dir else default or default_folder(arguments)


def dry_run(combinations: Sequence[Sequence[str]], planner: Planner, path: Path) -> None:
    """Say what every job would do, and in which folder below ``path``; nothing is written."""
    from treg_exp.app import run
    from treg_exp.configuration.command_line import run_job

    for overrides in combinations:
        cfg = planner.compose(overrides)
        cfg.run_dir = str(path / _name(_with_environment(cfg)))
        run_job(run, cfg)


def check_folders(combinations: Iterable[Sequence[str]]) -> None:
    """Raise ConfigError where jobs ask for folders of their own: each gets one by itself."""
    folders = {part for combination in combinations for part in combination if part.partition("=")[0] == "run_dir"}
    if len(folders) > 1:
        raise ConfigError("run_dir: with -m it is one folder, in which every job gets its own; give a single one")


def default_folder(arguments: Sequence[str]) -> Path:
    """The folder of a sweep that nobody gave one: the same for all values of the same keys, so that a grid can grow.

    Args:
        arguments: overrides of the command, with their lists of values.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = [o for o in OverridesParser.create().parse_overrides(list(arguments)) if o.get_key_element() != "dry_run"]
    keys = [each.get_key_element() if each.is_sweep_override() else str(each.input_line) for each in parsed]
    return Path("runs") / f"sweep-{hashlib.sha256(chr(31).join(sorted(keys)).encode()).hexdigest()[:8]}"


def _name(cfg: DictConfig) -> str:
    from treg_exp.configuration.identity import config_hash
    from treg_exp.configuration.settings import prepared

    return config_hash(prepared(cfg.copy()))


def _hash(files: str, overrides: Sequence[str]) -> str:
    kept = [part for part in overrides if part.partition("=")[0] not in IGNORED_OVERRIDES]
    return hashlib.sha256("\x1f".join([files, *kept, *_environment(" ".join(kept))]).encode()).hexdigest()[:16]


def _configuration_files(loader: ConfigLoader) -> str:
    """A hash of all files that a configuration may be composed from, and of what they take from the environment."""
    found = hashlib.sha256()
    for element in loader.get_search_path().get_path():
        scheme, _, path = str(element.path).partition("://")
        if scheme == "file" or not path:
            _add(found, Path(path or scheme))
        elif scheme == "pkg" and path != "hydra.conf":
            with resources.as_file(resources.files(path.partition("/")[0])) as folder:
                _add(found, Path(folder) / path.partition("/")[2])
    return found.hexdigest()


def _add(found: Any, folder: Path) -> None:
    for file in sorted(folder.rglob("*.yaml")):
        content = file.read_bytes()
        found.update(str(file.relative_to(folder)).encode() + b"\x1f" + content + b"\x1f")
        found.update("\x1f".join(_environment(content.decode(errors="replace"))).encode())


def _environment(text: str) -> list[str]:
    """The environment variables that a text takes values from, with these values."""
    return [f"{name}={os.environ.get(name)}" for name in ENVIRONMENT.findall(text)]


def _with_environment(cfg: DictConfig) -> DictConfig:
    """A configuration with the values of environment variables in place of their names: a job may run elsewhere."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    if not ENVIRONMENT.search(OmegaConf.to_yaml(cfg)):
        return cfg
    return OmegaConf.create(_taken(raw, OmegaConf.to_container(cfg, resolve=True)))  # type: ignore[no-any-return]


def _taken(raw: Any, value: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _taken(child, value[key]) for key, child in raw.items()}
    if isinstance(raw, list):
        return [_taken(child, value[i]) for i, child in enumerate(raw)]
    if not (isinstance(raw, str) and ENVIRONMENT.search(raw)):
        return raw
    return literal(value) if isinstance(value, str) else value
