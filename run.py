"""Entry point: compose conf/, run, and turn every expected mistake into one clear line."""

import sys

import hydra
from omegaconf import DictConfig

from treg_exp.configuration.command_line import exit_code_of, run_job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Run one experiment; returns the mean PSNR for sweepers."""
    from treg_exp.app import run

    return run_job(run, cfg)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
