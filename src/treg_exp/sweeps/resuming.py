"""``treg-exp resume``: what is missing of a sweep or a run, from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from treg_exp.configuration.hydra_guard import COMMAND_LINE_ONLY
from treg_exp.errors import ConfigError
from treg_exp.program import run_program
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.manifest import MANIFEST, Sweep, find_sweep

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
    for override in overrides:
        if not override.lstrip("+~").startswith((LAUNCHER, "hydra.launcher.")):
            raise ConfigError(f"{override}: resuming changes no settings but hydra/launcher and hydra.launcher.*")
    if not (path / MANIFEST).is_file() and RunLayout(path).config.is_file():
        from treg_exp.sweeps.job import run_folder

        return run_folder(path)
    sweep = find_sweep(path)
    launching = [] if any(override.startswith(LAUNCHER) for override in overrides) else _as_before(sweep, overrides)
    return run_program(["-m", "hydra/sweeper=resume", f"run_dir={path.absolute()}", *launching, *overrides])


def _as_before(sweep: Sweep, overrides: Sequence[str]) -> list[str]:
    """What the manifest says of how jobs are started; it is a file, so it may not say what runs commands.

    Raises:
        ConfigError: it does, and the command line does not say it again.
    """
    said = {override.lstrip("+~").partition("=")[0] for override in overrides}
    kept = []
    for override in sweep.launching:
        key = override.lstrip("+~").partition("=")[0]
        if key in said:
            continue
        if key.startswith(COMMAND_LINE_ONLY) or not override.lstrip("+~").startswith((LAUNCHER, "hydra.launcher.")):
            raise ConfigError(
                f"{sweep.file}: {key}: not taken from a file; say it again: treg-exp resume ... '{override}'"
            )
        kept.append(override)
    return kept
