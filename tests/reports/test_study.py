"""A study's report from runs whose numbers are known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.reports.columns import COLUMNS
from tests.test_config import composed
from treg_exp.cli import main
from treg_exp.experiment import Experiment
from treg_exp.files import append_json_line, write_json, write_text
from treg_exp.reports.study import CLAIMS, read_study, render_study
from treg_exp.reports.summary import paired
from treg_exp.signals.image import save_png


def _run(folder: Path, task: str, shifts: dict[str, dict[str, float]], noise: float = 1.0, images: int = 12) -> None:
    """A run in which every image is hard or easy, and a variant shifts its numbers by `shifts` on average."""
    rng = np.random.default_rng(0)
    write_json(folder / "status.json", {"state": "finished"})
    COLUMNS.write(folder / "columns.json")
    write_text(folder / "config.yaml", yaml.safe_dump({"task": {"name": task}}))
    for i in range(images):
        easy = 10.0 * rng.random()
        for variant, shift in shifts.items():
            numbers = {"psnr": 20.0 + easy, "judge_own": 0.5, "judge_counterfactual": 0.2, "residual": 1.0}
            row = {name: value + shift.get(name, 0.0) + noise * 0.01 * rng.normal() for name, value in numbers.items()}
            row["ssim"] = 0.5 + shift.get("ssim", 0.0)
            row |= {"sample_id": f"s{i}", "variant": variant, "draw": 0, "prompt": "", "seconds": 1.0, "nfe": 100}
            append_json_line(folder / "rows" / "rank-0.jsonl", row)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    shifts = {
        "no_text": {},
        "own": {"psnr": 0.5, "ssim": 0.25, "judge_own": 0.1},
        "negation": {"psnr": 0.9, "judge_own": 0.1},
        "counterfactual": {"judge_counterfactual": 0.3, "residual": 0.03},
        "random_caption": {"psnr": -0.9, "judge_own": -0.1},
        "style_word": {"psnr": 0.25, "judge_own": 0.02},
    }
    _run(tmp_path / "ours" / "a", "sr_x8", shifts)
    _run(tmp_path / "released" / "b", "sr_x8", {**shifts, "counterfactual": {"residual": 0.5}})
    far = {name: {**shift, "residual": 10.0 + shift.get("residual", 0.0)} for name, shift in shifts.items()}
    _run(tmp_path / "far" / "c", "sr_x8", far)
    return tmp_path


def test_differences_of_the_same_images_are_far_narrower_than_the_images(study: Path) -> None:
    rows = read_study(study).runs["ours", "sr_x8"]
    difference = paired(rows["own"], rows["no_text"], "psnr")
    assert difference["n"] == 12
    assert difference["mean"] == pytest.approx(0.5, abs=0.02)
    assert difference["high"] - difference["low"] < 0.05
    assert paired(rows["own"][:3], rows["no_text"][5:], "psnr") is None


def test_verdicts_follow_the_intervals(study: Path) -> None:
    lines = render_study(read_study(study), "Study", "make study").splitlines()

    def verdict(claim: str, setting: str) -> str:
        start = next(i for i, line in enumerate(lines) if claim in line)
        return next(line for line in lines[start + 1 :] if line.endswith(")") and f"sr_x8, {setting}:" in line)

    assert "sr_x8, ours: holds (0.50 [0.49, 0.51])" in verdict("Text raises PSNR", "ours")
    assert "fails, it is the other way (0.4" in verdict("Negation lowers PSNR", "ours")
    assert "open (" in verdict("Negation raises the alignment", "ours")
    assert "holds, below 2 and rises by less than 10% (0.03" in verdict("keeps the residual low", "ours")
    assert "fails, rises by more than 10% (0.5" in verdict("keeps the residual low", "released")
    assert "fails, is 11.03" in verdict("keeps the residual low", "far"), "as little as a residual of 11 sigma rises"
    assert "holds" in verdict("turns the image to it", "ours")
    assert "Open: no run measures it." in next(line for line in lines if "variance of the draws" in line)
    assert "| sr_x8 | ours | own text - no text | 0.50 [0.49, 0.51] | 0.250 [0.250, 0.250] |" in "\n".join(lines)
    assert "## sr_x8, released" in lines
    assert lines.index("## Texts against no text: paired differences") > lines.index("## Verdicts")
    assert (
        "- **A counterfactual caption keeps the residual low.** Holds in 1, fails in 2 of 3 runs. "
        "*counterfactual text - own text: residual.*"
    ) in lines


def test_controls_stand_beside_the_texts(study: Path) -> None:
    lines = render_study(read_study(study), "Study", "make study").splitlines()
    table = [line for line in lines if line.startswith("| sr_x8 | ours |")]
    labels = [line.split(" | ")[2] for line in table]
    assert labels == [
        *("own text - no text", "counterfactual text - no text", "random caption - no text", "style word - no text"),
        *(
            "own text - random caption",
            "own text - style word",
            "counterfactual text - own text",
            "negation - own text",
        ),
    ]
    heading = next(line for line in lines if line.startswith("| task | setting |"))
    psnr, judge_other = (heading.removesuffix(" |").split(" | ").index(name) for name in ("PSNR dB ↑", "judge other"))
    means = [float(line.split(" | ")[psnr].split()[0]) for line in table]
    assert means == pytest.approx([0.5, 0.0, -0.9, 0.25, 1.4, 0.25, -0.5, 0.4], abs=0.03)
    assert float(table[6].split(" | ")[judge_other].split()[0]) == pytest.approx(0.3, abs=0.02)  # the turn


def test_the_report_says_with_what_it_was_made(study: Path) -> None:
    told = {"git": "86eb03f2459b", "torch_threads": 1, "cpu_count": 2, "gpus": [], "packages": {"torch": "2.14.1"}}
    write_json(study / "ours" / "a" / "environment.json", told)
    text = render_study(read_study(study), "Study", "make study")
    assert "- *ours*: revision 86eb03f, torch 2.14.1, 1 thread(s) of 2 CPU cores, without a GPU." in text
    assert "- *far*, *released*: revision and machine are not known." in text


def test_variance_and_orientation_are_read_from_the_run(tmp_path: Path) -> None:
    run = tmp_path / "draws" / "c"
    _run(run, "phase_retrieval", {"no_text": {}, "own": {}}, images=4)
    with (run / "posterior.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "variant", "draws", "posterior_std", "psnr_of_mean"])
        writer.writerows(
            [f"s{i}", v, 10, 0.3 if v == "no_text" else 0.1, ""] for i in range(4) for v in ("no_text", "own")
        )
    target = torch.linspace(-1, 1, 64).expand(3, 8, 64)
    for i in range(4):
        save_png(target, run / "samples" / f"s{i}" / "target.png")
        save_png(target.flip(1, 2), run / "samples" / f"s{i}" / "no_text" / "reconstruction.png")
        save_png(0.5 * target, run / "samples" / f"s{i}" / "own" / "reconstruction.png")
    text = render_study(read_study(tmp_path), "Study", "make study")
    assert "phase_retrieval, draws: holds (-0.200 [-0.200, -0.200])" in text
    assert "phase_retrieval, draws: holds (1.000 [1.000, 1.000])" in text


def test_runs_that_are_not_finished_are_left_out(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(study / "ours" / "a" / "status.json", {"state": "interrupted"})
    assert list(read_study(study).runs) == [("far", "sr_x8"), ("released", "sr_x8")]
    assert f"left out: {study}/ours/a is not finished (interrupted)" in capsys.readouterr().out


@pytest.mark.parametrize("setting", ["best", "released"])
def test_the_variants_of_a_claim_differ_in_one_thing(setting: str) -> None:
    """A difference has one cause: the prompt, or the null text, or (without text) all that is text."""
    made = Experiment.from_config(composed(f"experiment=study/treg_{setting}", "prior=tiny_random", "data.limit=1"))
    for claim in CLAIMS:
        one, other = made.variants[claim.variant], made.variants[claim.against]
        if claim.against == "no_text":
            # The released code's "without text" is its null branch, guidance 0, with its null prompt.
            released = ("out of focus, depth of field", 0)
            assert (other.policy.null_text.text, other.policy.guidance.scale) == (
                released if setting == "released" else ("", 1)
            )
            continue
        assert one.policy.guidance == other.policy.guidance
        assert (vars(one.texts["prompt"]) == vars(other.texts["prompt"])) != (
            one.policy.null_text == other.policy.null_text
        ), claim.text
    for name in ("counterfactual", "random_caption", "style_word"):
        assert made.variants[name].policy == made.variants["own"].policy


def test_the_command_writes_the_report_and_names_what_is_missing(study: Path, capsys, tmp_path: Path) -> None:
    assert main(["study", str(study), "--out", str(tmp_path / "out.md"), "--note", "Few images."]) == 0
    text = (tmp_path / "out.md").read_text()
    assert text.startswith("# Does TReg hold here?")
    assert "\n\nFew images.\n\n" in text
    with pytest.raises(SystemExit):
        main(["study", str(tmp_path / "nothing")])
    assert "holds no runs" in capsys.readouterr().err
    _run(study / "ours" / "again", "sr_x8", {"own": {}})
    with pytest.raises(ValueError, match="two runs of sr_x8"):
        read_study(study)
