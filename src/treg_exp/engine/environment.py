"""Versions, code revision and machine, as a run notes them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.files import read_json

PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "omegaconf",
    "diffusers",
    "transformers",
    "torchmetrics",
    "deepinv",
    "soundfile",
    "wandb",
)


def read_noted(file: Path) -> dict[str, Any]:
    """What a file notes for the reader; nothing where it is damaged, since the run does not depend on it."""
    try:
        return read_json(file)
    except FileError:
        return {}


def environment() -> dict[str, Any]:
    """Versions, code revision and machine of this run."""
    import torch

    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git": git_revision(),
        "packages": {name: _version(name) for name in ("treg_exp", *PACKAGES)},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """Commit of the working tree, with ``-dirty`` where it has changes; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
