"""A real Slurm for the tests of this folder: brought up once by ``slurm.sh``, below a temporary folder, and ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("slurm.sh")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "bash", "python3")


def why_not() -> str:
    """Why there can be no Slurm here; empty where there can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if sys.platform != "linux" or missing:
        return f"LEFT OUT, no Slurm here (missing: {', '.join(missing)}); on Debian: apt-get install slurm-wlm munge"
    if os.geteuid():
        return "LEFT OUT, Slurm's daemons are started as root here, and this is not root"
    return ""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """Folder of a running Slurm with one node of two CPUs, for all that this process and its children start."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: names of sockets are
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{path}:/usr/sbin:/sbin"
    try:
        up = subprocess.run([str(SCRIPT), "up", str(folder)], capture_output=True, text=True, timeout=60)
        assert up.returncode == 0, up.stderr
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        yield folder
    finally:
        subprocess.run([str(SCRIPT), "down", str(folder)], capture_output=True, timeout=60)
        os.environ.pop("SLURM_CONF", None)
        os.environ["PATH"] = path
        shutil.rmtree(folder, ignore_errors=True)
