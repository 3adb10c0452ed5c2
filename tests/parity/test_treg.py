"""TReg against recorded outputs of the original implementation.

The vectors beside the tests keep every fourth pixel of the image. A full set, or any other case of TReg, is replayed
with `pytest tests/parity --vectors DIR`, which prints the largest difference of each case.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.cases import (
    expected_image,
    noise_of,
    operator_of,
    policy_of,
    solver_of,
    tolerance_of,
)
from tests.tiny import tiny_prior
from treg_exp.signals.ranges import to_unit
from treg_exp.tasks.problems import InverseProblem


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption("--vectors"))
    cases = sorted(p.stem for p in folder.glob("*.json") if json.loads(p.read_text()).get("solver") == "treg")
    if not cases:
        raise pytest.UsageError(f'--vectors {folder}: no TReg case (*.json with "solver": "treg") in this folder')
    metafunc.parametrize("case", cases)


def difference(settings: dict, arrays: dict, vectors: Path) -> float:
    """Largest difference of our image and the recorded one, in [0, 1] units."""
    prior, solver, policy = tiny_prior(vectors), solver_of(settings), policy_of(settings)
    y = torch.from_numpy(arrays["measurement"])
    problem = InverseProblem(y, operator_of(settings, arrays), sigma=0.01, lam=solver.lam)
    text = policy.start(prior, [{"prompt": settings["prompt"]}])
    image = to_unit(solver.solve(problem, text, prior, policy, noise_of(arrays, solver)).signal).numpy()
    expected, stride = expected_image(arrays)
    return float(np.abs(image[..., ::stride, ::stride] - expected).max())


def test_matches_the_original(case: str, vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.loads((vectors / f"{case}.json").read_text())
    found = difference(settings, dict(np.load(vectors / f"{case}.npz")), vectors)
    with capsys.disabled():
        print(f"\n{case}: max |difference| = {found:.2e}")
    assert found <= tolerance_of(settings)


@pytest.mark.parametrize("changed", [{"lam": 0.1}, {"cg_iterations": 1}, {"guidance": 4.0}, {"off_gamma_dps": True}])
def test_the_case_decides(changed: dict, vectors: Path) -> None:
    """What the JSON says is what is run: with another value the recorded image is missed."""
    case = sorted(p.stem for p in vectors.glob("*.json") if not json.loads(p.read_text()).get("off_gamma_dps"))[0]
    settings = json.loads((vectors / f"{case}.json").read_text()) | changed
    assert difference(settings, dict(np.load(vectors / f"{case}.npz")), vectors) > tolerance_of(settings)


def test_operators_come_from_the_case() -> None:
    arrays = {"image": np.zeros((1, 3, 64, 64)), "mask": np.ones((64, 64), dtype=np.float32)}
    told = {
        "bicubic downsampling x8 (Keys a=-0.5, 32 taps, half-sample symmetric padding)": (3, 8, 8),
        "average pooling over disjoint 4x4 blocks": (3, 16, 16),
        "pixelwise multiplication by array mask (1 observed, 0 missing)": (3, 64, 64),
        "Gaussian blur, sigma 3.0, 61 taps, zero boundary": (3, 64, 64),
    }
    for words, shape in told.items():
        assert operator_of({"operator": words}, arrays).measurement_shape == shape
    target = {"_target_": "treg_exp.operators.linear.average.AveragePooling", "factor": 2}
    assert operator_of({"operator": target}, arrays).measurement_shape == (3, 32, 32)
    for unknown in ("wavelets", "bicubic downsampling x16: ..., reflection padding (edge pixel not repeated)"):
        with pytest.raises(ValueError, match="not known; add its description"):
            operator_of({"operator": unknown}, arrays)
