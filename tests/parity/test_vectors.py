"""Solvers against recorded outputs of the original implementations.

The vectors beside the tests keep every fourth pixel of the image and no more arrays than a replay takes. Any other set
is replayed with `pytest tests/parity --vectors DIR`, which prints the largest difference of each case.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import DATA
from tests.parity import daps, latino, projdiff, psld, resample, treg
from tests.parity.cases import Case, files, operator_of, strided, system_of

SYSTEMS: dict[str, ModuleType] = {
    "treg": treg, "psld": psld, "daps_latent": daps, "latino_sd15": latino, "resample": resample,
    "projdiff": projdiff,
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


def replay(file: Path, **changed: Any) -> tuple[float, float]:
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


SHIPPED = DATA / "parity"
CHANGED: dict[str, list[dict[str, Any]]] = {
    "sr16_plain": [{"lam": 0.1}, {"cg_iterations": 1}, {"guidance": 3.0}, {"off_gamma_dps": True}, {"prompt": "a cat"}],
    "peers/psld_inpaint": [{"gamma": 0.0}, {"omega": 0.5}, {"prompt": "a cat"}, {"guidance_scale": 2.0}],
    "peers/psld_ldps_sr4": [{"eta": 0.5}],
    "peers/latino_sd15_sr16": [{"delta_rule": "t > 300: delta = 1; otherwise 0.5"}, {"sigma_y": 0.02}],
    "peers/projdiff_inpaint_noisy": [{"step_size": 0.1}, {"sigma_0": 0.25}],
}


@pytest.mark.parametrize(("case", "changed"), [(case, one) for case, every in CHANGED.items() for one in every])
def test_the_case_decides(case: str, changed: dict[str, Any]) -> None:
    """What the JSON says is what is run: with another value the recorded image is missed."""
    found, tolerance = replay(SHIPPED / f"{case}.json", **changed)
    assert found > tolerance


def test_what_nothing_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="keys that nothing reads: momentun, restarts; the JSON is the only source"):
        replay(SHIPPED / "peers" / "psld_ldps_sr4.json", restarts=2, momentun=0.5)


@pytest.mark.parametrize(
    ("case", "within", "key"),
    [("daps_latent_inpaint_langevin", "mcmc_sampler", "clamp"), ("resample_sr4", "pixel_optimizer", "amsgrad"),
     ("latino_sd15_sr16", "scheduler", "foo")],
)  # fmt: skip
def test_so_is_what_nothing_reads_inside_of_a_setting(case: str, within: str, key: str) -> None:
    file = SHIPPED / "peers" / f"{case}.json"
    changed = json.loads(file.read_text())[within] | {key: 1}
    with pytest.raises(ValueError, match=rf"keys that nothing reads: {within}\.{key}; "):
        replay(file, **{within: changed})


@pytest.mark.parametrize("changed", [{"actual_number_of_steps": 41}, {"consistency_step_indices": [20]}])
def test_statements_that_contradict_the_settings_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(changed))}"):
        replay(SHIPPED / "peers" / "resample_sr4.json", **changed)


def test_when_resample_optimises_is_what_the_case_says() -> None:
    file = SHIPPED / "peers" / "resample_sr4.json"
    update = [line.replace("i % 10 == 0", "i % 5 == 0") for line in json.loads(file.read_text())["update"]]
    with pytest.raises(ValueError, match=r"^consistency_step_indices \[20, 10\]: ours are \[25, 20, 15, 10, 5\]"):
        replay(file, update=update)


def test_operators_come_from_the_case() -> None:
    arrays, shape = {"mask": np.ones((64, 64), dtype=np.float32)}, (3, 64, 64)
    told = {
        "bicubic downsampling x8 (Keys a=-0.5, 32 taps, half-sample symmetric padding)": (3, 8, 8),
        "average pooling over disjoint 4x4 blocks; transpose: nearest": (3, 16, 16),
        "pixelwise multiplication by array mask (1 observed, 0 missing)": (3, 64, 64),
        "Gaussian blur, sigma 3.0, 61 taps, zero boundary": (3, 64, 64),
        "clipping operator clip(2 x, -1, 1)": (3, 64, 64),
    }
    for words, measured in told.items():
        assert operator_of(words, arrays, shape).measurement_shape == measured
    target = {"_target_": "treg_exp.operators.linear.average.AveragePooling", "factor": 2}
    assert operator_of(target, arrays, shape).measurement_shape == (3, 32, 32)
    for unknown in ("wavelets", "bicubic downsampling x16: ..., reflection padding (edge pixel not repeated)"):
        with pytest.raises(ValueError, match="not known; add its description"):
            operator_of(unknown, arrays, shape)


@pytest.mark.parametrize("asked", [10, 12, 30, 170])
def test_steps_that_do_not_divide_the_schedule_are_visited_as_released(asked: int) -> None:
    """TReg's are those of diffusers; CompVis and ProjDiff go through range(0, 1000, 1000 // asked)."""
    from diffusers import DDIMScheduler

    treg_case = Case.of(SHIPPED / "sr16_plain.json")
    theirs = DDIMScheduler.from_pretrained(treg_case.folder / "tiny_model", subfolder="scheduler")
    theirs.set_timesteps(asked)
    _, schedule = strided(treg_case.prior, asked)
    assert schedule.timesteps(asked) == theirs.timesteps.tolist()
    _, schedule = strided(projdiff.prior_of(Case.of(SHIPPED / "peers" / "projdiff_sr4_clean.json")), asked)
    assert schedule.timesteps(schedule.all_steps) == [*range(0, 1000, 1000 // asked)][::-1]


def test_iterations_that_contradict_the_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="iterations 21: 20 timesteps with 1 repeats each"):
        replay(SHIPPED / "peers" / "projdiff_sr4_clean.json", iterations=21)
