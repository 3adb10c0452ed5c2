"""The tables of a benchmark, from run folders with made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.findings.folders import run
from treg_exp.cli import main
from treg_exp.errors import ConfigError
from treg_exp.findings.benchmark import page, read_contest
from treg_exp.reports.grid import CELL, GAP, GROUP_GAP, MARGIN


def contest(folder: Path, rival: float, measured: str = "m", images: int = 12) -> None:
    """On sr_x8 a rival is better in PSNR by ``rival`` dB, give or take a quarter, and alike in LPIPS."""
    run(folder / "ours", lambda i: {"psnr": 20.0 + i, "lpips": 0.2, "seconds": 1.5}, method="TReg")
    gain = lambda i: rival + (0.25 if i % 2 else -0.25)  # noqa: E731
    run(
        folder / "theirs", lambda i: {"psnr": 20.0 + i + gain(i), "lpips": 0.2, "seconds": 3.0},
        method="DAPS", measured=measured, images=images,
    )  # fmt: skip


def cells(page: str, first: str, heading: str) -> list[list[str]]:
    """The lines of tables below a heading that begin with a cell."""
    part = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] == first]


def test_means_differences_and_wins(tmp_path: Path) -> None:
    contest(tmp_path, rival=1.0)
    told = page(read_contest([tmp_path], "TReg"))
    assert cells(told, "TReg", "sr_x8") == [["TReg", "12", "25.50", "0.200", "1.50"]]
    means, differences = cells(told, "DAPS", "sr_x8")
    assert means == ["DAPS", "12", "26.50", "0.200", "3.00"]
    assert differences[1].startswith("**+1.00 [+0.")
    assert differences[1].endswith("** (100 %)")
    assert differences[2] == "+0.000 [+0.000, +0.000]"
    assert cells(told, "DAPS", "In all tasks") == [["DAPS", "1", "1 / 0 / 0", "0 / 1 / 0"]]
    assert "sr_x8: all runs restored the same measurements (" in told


def test_who_loses_is_said(tmp_path: Path) -> None:
    contest(tmp_path, rival=-2.0)
    told = page(read_contest([tmp_path], "TReg"))
    assert cells(told, "DAPS", "In all tasks") == [["DAPS", "1", "0 / 0 / 1", "0 / 1 / 0"]]
    assert cells(told, "DAPS", "sr_x8")[1][1].endswith("** (0 %)")


def test_tasks_stand_by_name_and_in_each_the_baseline_first(tmp_path: Path) -> None:
    for folder, name in (("1", "psld"), ("2", "FLAIR"), ("3", "TReg"), ("4", "DAPS")):
        for task in ("sr_x8", "deblur"):
            run(tmp_path / task / folder, lambda i: {"psnr": 20.0 + i}, method=name, task__name=task)
    found = [
        (method.task, method.name)
        for method in read_contest([tmp_path / "sr_x8", tmp_path / "deblur"], "TReg").compared
    ]
    assert found == [(task, name) for task in ("deblur", "sr_x8") for name in ("TReg", "DAPS", "FLAIR", "psld")]


def test_fewer_images_are_compared_and_told(tmp_path: Path) -> None:
    contest(tmp_path, rival=1.0, images=5)
    told = page(read_contest([tmp_path], "TReg"))
    assert cells(told, "DAPS", "sr_x8")[0][1] == "5"
    assert "not as many; compared are images with the same one, at least 5." in told


def test_other_measurements_are_refused(tmp_path: Path) -> None:
    contest(tmp_path, rival=1.0, measured="another")
    with pytest.raises(ConfigError, match=r"sr_x8: DAPS and TReg had other measurements of image_00; give runs"):
        read_contest([tmp_path], "TReg")


def test_rivals_without_the_baseline_had_the_same_measurements_too(tmp_path: Path) -> None:
    contest(tmp_path, rival=1.0)
    for name in ("p", "q"):
        run(tmp_path / name, lambda i: {"psnr": 1.0}, method=name, measured=name, task__name="sr_x16")
    with pytest.raises(ConfigError, match=r"sr_x16: q and p had other measurements of image_00"):
        read_contest([tmp_path], "TReg")


def test_rows_without_a_hash_are_refused(tmp_path: Path) -> None:
    contest(tmp_path, rival=1.0)
    file = tmp_path / "theirs" / "rows" / "rank-0.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "measurement"}) + "\n" for row in rows))
    with pytest.raises(ConfigError, match=r"sr_x8: DAPS has rows without a hash"):
        read_contest([tmp_path], "TReg")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest(tmp_path, rival=1.0)
    assert main(["benchmark", str(tmp_path), "--baseline", "DAPS"]) == 0
    assert cells(capsys.readouterr().out, "TReg", "In all tasks") == [["TReg", "1", "0 / 0 / 1", "0 / 1 / 0"]]
    with pytest.raises(SystemExit):
        main(["benchmark", str(tmp_path), "--baseline", "PSLD"])
    assert "no such method; there are" in capsys.readouterr().err


def test_sheets_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two images, a column each for target, measurement, TReg and DAPS; DAPS has no second image."""
    for folder, name, images in (("a", "TReg", 3), ("b", "DAPS", 1)):
        run(tmp_path / "runs" / folder, lambda i: {"psnr": 20.0 + i}, images, method=name, pictures=True)
    out = tmp_path / "sheets"
    asked = ["benchmark", str(tmp_path / "runs"), "--sheets", str(out), "--images"]
    assert main([*asked, "2"]) == 0
    assert f"written: {out / 'sr_x8.png'}" in capsys.readouterr().err
    with Image.open(out / "sr_x8.png") as sheet:
        pixels = sheet.convert("RGB")
    lefts = [MARGIN + i * (CELL + GAP) + (GROUP_GAP - GAP if i > 1 else 0) for i in range(4)]
    assert pixels.width == lefts[-1] + CELL + MARGIN
    greys = [[pixels.getpixel((left + CELL // 2, y))[0] for y in range(pixels.height)] for left in lefts]
    assert all(200 in grey for grey in greys[:1])
    assert 120 in greys[1]
    assert {0, 8} <= set(greys[2])  # both images of TReg
    assert 8 not in greys[3]
    with pytest.raises(SystemExit):
        main([*asked, "0"])
    assert "--images 0: at least 1" in capsys.readouterr().err
