"""Options and fixtures that every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks: one thread per worker beats threads that wait
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        type=Path,
        default=DATA / "parity",
        help="folder of TReg reference vectors: *.json + *.npz, tiny_model/, image_feature_matrix.npy",
    )


@pytest.fixture(scope="session")
def vectors(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--vectors"))


@pytest.fixture(scope="session")
def nursery():
    """See tests/nursery.py."""
    from tests.nursery import the_nursery

    return the_nursery()


@pytest.fixture(scope="session")
def tiny_prior():
    """The small random diffusers model of the reference vectors, with a linear stand-in for CLIP."""
    from tests.tiny import tiny_prior

    return tiny_prior(DATA / "parity")
