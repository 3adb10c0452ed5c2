"""``hydra/launcher=slurm`` and ``slurm_ddp``: the runs of a sweep as a job array, see ``treg_exp.sweeps.slurm``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.sweeps.launching import FolderLauncher
from treg_exp.sweeps.slurm.submission import SlurmSettings


class SlurmLauncher(FolderLauncher):
    """Hands the run folders of a sweep to Slurm.

    Args:
        **settings: fields of `SlurmSettings`. One is called ``setup``, as a method of launchers is.
    """

    queues = True
    takes = SlurmSettings

    def __init__(self, **settings: Any) -> None:
        self.settings = SlurmSettings(**settings)
        self.waits = self.settings.wait

    def run(self, folders: Sequence[Path]) -> None:
        """Submit the folders, and wait for them unless told otherwise."""
        from treg_exp.sweeps.slurm.waiting import run_folders

        run_folders(folders, self.settings)
