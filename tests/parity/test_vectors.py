"""Solvers against recorded outputs of the original implementations.

The vectors beside the tests keep every fourth pixel of the image and no more arrays than a replay takes. Any other set
is replayed with `pytest tests/parity --vectors DIR`, which prints the largest difference of each case.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.parity import daps, latino, psld, resample, treg
from tests.parity.cases import Case, files, system_of

SYSTEMS: dict[str, ModuleType] = {
    "treg": treg, "psld": psld, "daps_latent": daps, "latino_sd15": latino, "resample": resample,
}  # fmt: skip
OTHERS = ("cvdm", "rnri", "renoise")  # recorded for editing and training, which are no solvers of measurements


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "file" not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption("--vectors"))
    cases = [file for file in files(folder) if system_of(file) not in OTHERS]
    if not cases:
        raise pytest.UsageError(f"--vectors {folder}: no recorded case of a solver (*.json, *.npz) in this folder")
    metafunc.parametrize("file", cases, ids=[file.stem for file in cases])


def replay(file: Path, **changed: object) -> tuple[float, float]:
    """Largest difference of the image, and the tolerance."""
    case, system = Case.of(file, **changed), system_of(file)
    if system not in SYSTEMS:
        raise ValueError(f"{file.name}: system {system!r} is not known; known are {', '.join(SYSTEMS)}")
    image = SYSTEMS[system].replayed(case)
    case.told.refuse_unread(SYSTEMS[system].NOTES)
    return case.difference(image), case.tolerance


def test_matches_the_original(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, tolerance = replay(file)
    with capsys.disabled():
        print(f"\n{file.stem}: max |difference| = {found:.2e} (tolerance {tolerance:.1e})")
    assert found <= tolerance
