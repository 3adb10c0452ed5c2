"""Where a multirun keeps what belongs to all of its jobs."""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write


class SweepFolder(Callback):
    """Makes Hydra write ``multirun.yaml`` next to the run folders of the jobs, not into the current directory."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the sweeper is built."""
        with read_write(config.hydra):
            config.hydra.sweep.dir = config.run_dir or "runs"
