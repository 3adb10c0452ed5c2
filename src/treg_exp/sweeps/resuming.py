"""``treg-exp resume``: what is missing of a sweep or a run, from its folder alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from treg_exp.configuration.hydra_guard import COMMAND_LINE_ONLY
from treg_exp.errors import ConfigError
from treg_exp.program import run_program
from treg_exp.quoting import hydra_text
from treg_exp.sweeps.manifest import MANIFEST, find_sweep
from treg_exp.sweeps.overview import is_run

LAUNCHER = "hydra/launcher="


def resume(path: Path, overrides: Sequence[str] = ()) -> int:
    """Start what is missing.

    Args:
        path: folder of a sweep or of a run.
        overrides: how the jobs of a sweep are started; of nothing it is done as the last time.

    Returns:
        Exit code.

    Raises:
        ConfigError: there is nothing of the kind, or an override that says something else.
    """
    _check(overrides)
    if not (path / MANIFEST).is_file() and is_run(path):
        if overrides:
            raise ConfigError(f"{overrides[0]}: {path} is a single run, which goes on in this process")
        return _resume_run(path.absolute())
    sweep = find_sweep(path)
    launching = [] if any(override.startswith(LAUNCHER) for override in overrides) else sweep.launching
    _check(launching)
    given = {_key(override) for override in overrides}
    for key in (key for key in map(_key, launching) if key.startswith(COMMAND_LINE_ONLY) and key not in given):
        raise ConfigError(f"{key}: was said on the command line then, and is taken from nowhere else; give it again")
    folder = f"run_dir={hydra_text(str(path.absolute()))}"
    return run_program(["-m", "hydra/sweeper=resume", folder, *launching, *overrides])


def _resume_run(path: Path) -> int:
    from treg_exp.sweeps.job import run_folder

    if (path.parent / MANIFEST).is_file():
        os.chdir(find_sweep(path.parent).working_folder)  # where relative paths of its jobs start
    return run_folder(path)


def _check(overrides: Sequence[str]) -> None:
    """Nothing else than how jobs are started, also of what a file says."""
    for override in overrides:
        if not override.lstrip("+~").startswith((LAUNCHER, "hydra.launcher.")):
            raise ConfigError(f"{override}: resuming changes no settings but hydra/launcher and hydra.launcher.*")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
