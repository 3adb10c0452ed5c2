"""A package of the user's own works by its `_target_`s, once it is named; docs/extending.md is what is run here."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import warm
from tests.conftest import ROOT
from treg_exp.configuration.targets import own_packages, target_class
from treg_exp.errors import ConfigError
from treg_exp.run_layout import read_rows

BLOCK = re.compile(r"```(?:python|yaml)\n# (my_\w+/[\w/]+\.\w+)\n(.*?)```", re.DOTALL)
SMALL = ["experiment=single", "prior=tiny_random", "data.limit=2", "logger=csv"]
OWN = [
    "solver=fitted", "solver.steps=3", "guidance=cfg_plus_plus", "guidance.scale=0.5", "task=columns",
    "metrics=residual",    "+metrics.mae._target_=my_lab.metrics.MeanAbsoluteError",
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of docs/extending.md and docs/tasks.md."""
    folder = tmp_path_factory.mktemp("lab")
    blocks = [
        block for page in ("extending", "tasks") for block in BLOCK.findall((ROOT / f"docs/{page}.md").read_text())
    ]
    assert len(blocks) == 11
    for name, text in [*blocks, ("my_lab/__init__.py", "")]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(lab: Path, *arguments: str, code: int = 0, packages: str | None = None) -> str:
    """What a run says, of errors where it has to fail."""
    environment = {k: v for k, v in os.environ.items() if k != "TREG_EXP_PACKAGES"}
    environment["PYTHONPATH"] = os.pathsep.join([str(lab), *sys.path])
    if packages:
        environment["TREG_EXP_PACKAGES"] = packages
    command = [sys.executable, str(ROOT / "run.py"), "--config-dir", str(lab / "my_conf"), *arguments]
    done = warm.run(command, cwd=lab, env=environment, check=False)
    assert done.returncode == code, done
    return done.stderr if code else done.stdout


def picture(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file)) / 255.0


def test_solver_guidance_operator_and_metric(lab: Path) -> None:
    run(lab, *SMALL, *OWN, "run_dir=r", "--packages", "my_lab")
    rows = read_rows(lab / "r")
    assert len(rows) == 2
    for row in rows:
        sample = lab / "r" / "samples" / row["sample_id"]
        target, restored = picture(sample / "target.png"), picture(sample / "own" / "reconstruction.png")
        assert row["mae"] == pytest.approx(np.abs(target - restored).mean(), abs=2e-3)  # 8 bits
        assert row["nfe"] == 6  # prompt and null text by themselves, at 3 steps
        assert picture(sample / "measurement.png").shape == (64, 16, 3)
        assert 0.1 < row["residual"] < 3  # the last step explains the measurement


def test_a_solver_with_gradients(lab: Path) -> None:
    """Without a YAML file of its own; a step takes prompt and null text, and a gradient through both."""
    own = ["solver=fitted", "solver._target_=my_lab.dps.DPS", "solver.steps=3", "task=sr_x8", "guidance.scale=2"]
    run(lab, *SMALL, *own, "metrics=residual", "run_dir=g", "--packages=my_lab")
    assert [(row["nfe"], row["nfe_backward"]) for row in read_rows(lab / "g")] == [(6, 6)] * 2


def test_a_prior(lab: Path) -> None:
    """The mean of N(0, 1/4) under the measurement: known columns nearly as measured, the others nearly grey."""
    own = ["prior=gaussian", "prompt=empty", "null_text=off", "solver=fitted", "task=columns", "metrics=residual"]
    run(lab, *SMALL, *own, "run_dir=p", "--packages=my_lab")
    rows = read_rows(lab / "p")
    assert [row["nfe"] for row in rows] == [20, 20]
    sample = lab / "p" / "samples" / rows[0]["sample_id"]
    target, restored = picture(sample / "target.png"), picture(sample / "empty_prompt" / "reconstruction.png")
    assert np.abs(target - restored)[:, ::4].mean() < 0.05
    assert np.abs(target - restored)[:, 1::4].mean() > 0.1


def test_a_mask_and_a_kernel_from_files(lab: Path) -> None:
    """The left half is measured as it is; a kernel with two taps averages neighbours, wherever it is scaled to."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(lab / "mask.png")
    np.save(lab / "kernel.npy", np.array([[0, 0, 0], [0, 3, 3], [0, 0, 0]]))
    task = ["task=box_inpainting", "~task.operator.box", "task.noise.sigma=0"]
    alone = ["solver=pseudo_inverse", "null_text=off", "guidance=conditional", "metrics=residual"]
    for name, file in (("GivenMask", "mask.png"), ("GivenBlur", "kernel.npy")):
        own = [*task, f"task.operator._target_=my_lab.given.{name}", f"+task.operator.file={file}"]
        run(lab, *SMALL, *own, *alone, f"run_dir={name}", "--packages=my_lab")
        sample = lab / name / "samples" / read_rows(lab / name)[0]["sample_id"]
        target, measured = picture(sample / "target.png"), picture(sample / "measurement.png")
        if name == "GivenMask":
            np.testing.assert_allclose(measured[:, :32], target[:, :32], atol=1 / 255)
            np.testing.assert_allclose(measured[:, 32:], 0.5, atol=1 / 255)
        else:
            np.testing.assert_allclose(measured, (target + np.roll(target, 1, axis=1)) / 2, atol=1.5 / 255)


@pytest.mark.slow
def test_further_processes_know_the_package(lab: Path) -> None:
    run(
        lab,
        *SMALL,
        *OWN,
        "run_dir=two",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "data.batch_size=1",
        packages="my_lab",
    )
    assert len(list((lab / "two" / "rows").iterdir())) == 2
    assert len(read_rows(lab / "two")) == 2


def test_the_package_is_no_part_of_the_identity(lab: Path) -> None:
    """A folder of a run without it is continued with it named, and finished runs stay finished."""
    ours = [*SMALL, "solver=pseudo_inverse", "run_dir=same"]
    run(lab, *ours)
    assert "nothing to do" in run(lab, *ours, packages="my_lab")


def test_without_its_name_a_package_is_refused(lab: Path) -> None:
    said = run(lab, *SMALL, "solver=fitted", "run_dir=none", code=2)
    assert said == (
        "error: solver._target_=my_lab.solvers.Fitted: not allowed; a package of your own is allowed by --packages "
        "NAME or TREG_EXP_PACKAGES=NAME in the environment, see docs/extending.md\n"
    )
    assert not (lab / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--packages"], "error: --packages: needs the name of a package, as --packages my_lab\n"),
        (["--packages", "../x"], "error: ../x: is no name of a package, as my_lab or my_lab.solvers; "),
        (["--packages", "my_lab", "solver._target_=my_lab.x.Y"], "error: solver._target_=my_lab.x.Y: there is no "),
        (
            ["--packages", "my_lab", "solver._target_=my_lab.solvers.Fited"],
            "error: solver._target_=my_lab.solvers.Fited: my_lab.solvers has no class Fited; did you mean",
        ),
        (
            ["--packages", "my_lab", "solver=fitted", "solver.steps=0"],
            "error: solver.steps=0: must be an integer >= 1\n",
        ),
        (["--packages", "my_lab", "task=columns", "task.operator.n=7"], "error: task.operator.n=7: must divide the "),
        (
            ["--packages", "my_lab", "task=columns", "task.operator._target_=my_lab.metrics.MeanAbsoluteError"],
            "error: task.operator._target_=my_lab.metrics.MeanAbsoluteError: makes no Operator; choose another",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(lab: Path, arguments: list[str], message: str) -> None:
    said = run(lab, *SMALL, "run_dir=none", *arguments, code=2)
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_only_classes_of_the_package_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that it has imported is not its own, and neither is a function; a class offered by `__init__` is."""
    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "__init__.py").write_text(
        "from own_lab.a import Thing, helper\nfrom pathlib import Path\nimport os\n"
    )
    (tmp_path / "own_lab" / "a.py").write_text("class Thing: pass\ndef helper(): pass\n")
    (tmp_path / "own_lab" / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TREG_EXP_PACKAGES", "other, own_lab")
    assert own_packages() == ("other", "own_lab")
    assert target_class("own_lab.Thing", "x") is target_class("own_lab.a.Thing", "x")
    for name in (
        "own_lab.helper",
        "own_lab.Path",
        "own_lab.os",
        "own_lab.os.system",
        "own_lab.a.Thing.__init__",
        "own_labs.X",
    ):
        with pytest.raises(ConfigError, match=rf"^x\._target_={name}: "):
            target_class(name, "x")
    with pytest.raises(ConfigError, match=r"own_lab\.broken cannot be imported: ZeroDivisionError: division by zero$"):
        target_class("own_lab.broken.Thing", "x")
