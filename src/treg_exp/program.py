"""``treg-exp run``: what ``run.py`` does, with the configuration that the package brings along."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from treg_exp.configuration.command_line import exit_code_of, run_job
from treg_exp.configuration.folder import config_folder


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def _main(cfg: DictConfig) -> float | None:
    from treg_exp.app import run

    return run_job(run, cfg)


def run_program(arguments: Sequence[str]) -> int:
    """Run with these arguments of a command line; returns the exit code."""
    sys.argv[1:] = arguments
    if line := os.environ.get("COMP_LINE"):  # of a shell that completes words, where `run` is no override
        os.environ["COMP_LINE"] = line.replace("treg-exp run", "treg-exp", 1)
    return exit_code_of(_main)
