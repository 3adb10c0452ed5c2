"""`treg-exp doctor`: what is well is said, what is not gets one line each, and the exit status tells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from tests.conftest import DATA
from treg_exp import cli, doctor
from treg_exp.doctor import Finding
from treg_exp.shipped import ASSETS, HASHES, SHIPPED, read_hashes, write_hashes

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A small prior and the test set under the names of the shipped ones, with their hashes."""
    shutil.copytree(DATA / "parity" / "tiny_model", tmp_path / "assets" / "emoji64")
    shutil.copytree(ASSETS / "emoji_test", tmp_path / "assets" / "emoji_test")
    for name in SHIPPED:
        write_hashes(tmp_path / "assets" / name)
    return tmp_path / "assets"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the trial run of W&B."""
    monkeypatch.setattr(doctor, "check_wandb", lambda: iter([Finding(True, "skipped")]))


def problems(findings) -> list[str]:
    lines = [finding.text for finding in findings if not finding.ok]
    assert not any("\n" in line for line in lines)
    return lines


@pytest.mark.usefixtures("quick")
def test_all_is_well(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor(tmp_path / "runs", assets) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("All is well.\n")
    assert "PROBLEM" not in printed
    assert f"torch {metadata.version('torch')}" in printed
    assert "precision=auto takes" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("quick")
def test_every_problem_has_one_line(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (assets / "emoji64" / WEIGHTS).unlink()
    (tmp_path / "runs").write_text("")
    assert doctor.doctor(tmp_path / "runs", assets) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("PROBLEM")] == [
        "PROBLEM  assets", "PROBLEM  run folder"
    ]  # fmt: skip
    assert lines[-1] == "2 problems."


def test_one_flipped_bit_is_found(assets: Path) -> None:
    file = assets / "emoji64" / WEIGHTS
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    (line,) = problems(doctor.check_assets(assets))
    assert line.startswith(
        f"emoji64: 1 of {len(read_hashes(assets / 'emoji64'))} files is changed ({WEIGHTS}): restore"
    )


def test_missing_files_are_counted(assets: Path) -> None:
    images = sorted((assets / "emoji_test" / "images").iterdir())
    for file in images[:5]:
        file.unlink()
    (line,) = problems(doctor.check_assets(assets))
    assert line.startswith(f"emoji_test: 5 files are missing (images/{images[0].name}, ")
    assert images[2].name in line
    assert images[3].name not in line


def test_a_missing_folder_and_a_missing_hash_file(assets: Path) -> None:
    shutil.rmtree(assets / "emoji64")
    (assets / "emoji_test" / HASHES).unlink()
    lines = problems(doctor.check_assets(assets))
    assert [line.split(":")[0] for line in lines] == [
        "the folder emoji64 is missing", "emoji_test/sha256.txt is missing"
    ]  # fmt: skip


def test_what_changes_no_result_is_no_problem(assets: Path) -> None:
    """Documents, files of the desktop, and the line ends of a checkout on Windows."""
    table = assets / "emoji_test" / "captions.csv"
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    (assets / "emoji_test" / "README.md").write_text("other words")
    (assets / "emoji_test" / ".DS_Store").write_text("")
    assert not problems(doctor.check_assets(assets))
    listed = read_hashes(assets / "emoji_test")
    assert set(read_hashes(write_hashes(assets / "emoji_test").parent)) == set(listed)
    assert "README.md" not in listed


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_hash_file_is_what_sha256sum_reads(assets: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", HASHES], cwd=assets / "emoji64", check=True, timeout=60)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_hashes_are_those_of_the_shipped_files(name: str, tmp_path: Path) -> None:
    if not (ASSETS / name / HASHES).is_file():
        pytest.skip("not written yet: treg-exp doctor --write-hashes")
    shutil.copytree(ASSETS / name, tmp_path / name)
    assert read_hashes(ASSETS / name) == read_hashes(write_hashes(tmp_path / name).parent)


def test_versions_outside_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("deepinv", "scipy"):  # scipy is asked for by torchmetrics[image]
            raise metadata.PackageNotFoundError(name)
        return {"torch": "2.5.1+cpu", "wandb": "0.99.0rc1"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.1")
    python, *packages = problems(doctor.check_versions())
    assert python.startswith("Python 3.10.1 runs, <3.14,>=3.11 is needed: ")
    assert packages == [
        "torch 2.5.1+cpu is installed, >=2.9 is needed: pip install 'torch>=2.9'",
        "scipy is missing: pip install 'scipy>1.0.0'",
        "deepinv is missing: pip install 'deepinv<0.6,>=0.5'",
    ]


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    (line,) = problems(doctor.check_versions())
    assert "pip install -e ." in line


@pytest.mark.parametrize(("native", "words"), [(True, "takes bf16: it has"), (False, "takes float32: it has no AMX")])
def test_why_a_precision_is_chosen(native: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")  # its import looks at torch's own functions, so it comes before the patches
    monkeypatch.setattr("treg_exp.priors.precision.has_fast_bf16", lambda device: native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    (finding,) = doctor.check_device()
    assert finding.ok
    assert words in finding.text


def test_a_check_that_fails_hides_no_other(assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def broken():
        raise RuntimeError("operator torchvision::nms\ndoes not exist")
        yield

    monkeypatch.setattr(doctor, "check_device", broken)
    monkeypatch.setattr(doctor, "check_wandb", broken)
    assert doctor.doctor(assets, assets) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("failed with RuntimeError: operator torchvision::nms does not exist; " in line for line in lines) == 2
    assert sum("files as published" in line for line in lines) == len(doctor.SHIPPED)


def test_the_run_folder(tmp_path: Path) -> None:
    assert not problems(doctor.check_run_folder(tmp_path / "not" / "yet" / "there"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for place in ("file", "file/runs"):
        (line,) = problems(doctor.check_run_folder(tmp_path / place))
        assert line.startswith(f"cannot write in {tmp_path / 'file'}")


def test_wandb_makes_an_offline_run() -> None:
    assert not problems(doctor.check_wandb())


@pytest.mark.parametrize(
    ("trial", "reason"),
    [("import wandbb", "No module named 'wandbb'"), ("pass", "nothing was written"), ("while True: pass", "within")],
)
def test_a_wandb_that_fails(trial: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WANDB_TRIAL", trial)
    monkeypatch.setattr(doctor, "WANDB_SECONDS", 1 if "while" in trial else 60)
    (line,) = problems(doctor.check_wandb())
    assert reason in line
    assert "logger=csv" in line


def test_the_command(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("treg_exp.shipped.ASSETS", assets)
    for name in ("check_versions", "check_device", "check_wandb"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    command = ["doctor", "--run-dir", str(tmp_path / "runs")]
    (assets / "emoji64" / "model_index.json").write_text("{}")
    assert cli.main(command) == 1
    assert "model_index.json" in capsys.readouterr().out
    assert cli.main([*command, "--write-hashes"]) == 0
    assert f"wrote {assets / 'emoji64' / HASHES}" in capsys.readouterr().out


def test_is_light_to_import() -> None:
    code = "import treg_exp.doctor, sys; assert not {'torch', 'numpy', 'wandb', 'packaging'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
