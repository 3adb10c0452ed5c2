"""``hydra/launcher=slurm`` and ``slurm_ddp``: the runs of a sweep as a job array; see `treg_exp.sweeps.slurm_wait`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.sweeps.launching import FolderLauncher


class SlurmLauncher(FolderLauncher):
    """Hands the run folders of a sweep to Slurm.

    Args:
        **settings: fields of `treg_exp.sweeps.slurm.SlurmSettings`.
    """

    def __init__(self, **settings: Any) -> None:
        from treg_exp.sweeps.slurm import SlurmSettings

        super().__init__()
        self.settings = SlurmSettings(**settings)
        self.waits = self.settings.wait

    def run(self, folders: Sequence[Path]) -> None:
        """Submit the folders and wait for them."""
        from treg_exp.sweeps.slurm_wait import run_folders

        run_folders(folders, self.settings)
