"""``hydra/launcher=slurm`` and ``slurm_ddp``: the runs of a sweep as a job array; see `treg_exp.sweeps.slurm_wait`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from treg_exp.sweeps.launching import FolderLauncher
from treg_exp.sweeps.slurm import SlurmSettings


class SlurmLauncher(SlurmSettings, FolderLauncher):
    """Hands the run folders of a sweep to Slurm."""

    def run(self, folders: Sequence[Path]) -> None:
        """Submit the folders, and wait for them unless told otherwise."""
        from treg_exp.sweeps.slurm_wait import run_folders

        self.waits = self.wait
        run_folders(folders, self)
