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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` a file stays with one worker, and so do all files that need the trained miniature."""
    trained = {item.path for item in items if "trained" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("trained" if item.path in trained else item.nodeid.split("::")[0]))


@pytest.fixture(scope="session")
def vectors(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--vectors"))


@pytest.fixture(scope="session")
def tiny_prior():
    """The small random diffusers model of the reference vectors, with a linear stand-in for CLIP."""
    from tests.tiny import tiny_prior

    return tiny_prior(DATA / "parity")
