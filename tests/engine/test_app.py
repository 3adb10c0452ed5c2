"""Whole runs in this process, on the small random prior."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from tests.conftest import DATA
from tests.test_config import VARIANTS
from tests.test_config import composed as composed_alone
from treg_exp.app import run
from treg_exp.engine.launcher import Place
from treg_exp.engine.processes import ProcessLostError, Workers
from treg_exp.errors import ConfigError, RunFailedError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.run_layout import read_rows
from treg_exp.signals.image import save_png
from treg_exp.solvers.base import Restoration
from treg_exp.solvers.treg import TReg

BASE = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "text_match=off", "solver.steps=4",
    "logger=csv",
]  # fmt: skip


def composed(*overrides: str) -> DictConfig:
    """Three variants, unless the overrides name an experiment."""
    named = any(override.startswith("experiment=") for override in overrides)
    return composed_alone(*overrides, *([] if named else VARIANTS))


def go(folder: Path, *overrides: str) -> dict[tuple[str, str], dict]:
    run(composed(*BASE, f"run_dir={folder}", *overrides))
    return {(row["sample_id"], row["variant"]): row for row in read_rows(folder)}


def picture(folder: Path, sample: str, variant: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "samples" / sample / variant / "reconstruction.png")).astype(int)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("runs") / "batch_8"
    return folder, go(folder, "data.limit=3", "data.batch_size=8")


def test_what_a_run_leaves_behind(reference) -> None:
    folder, rows = reference
    assert len(rows) == 9
    row = next(iter(rows.values()))
    assert {"sample_id", "variant", "draw", "prompt", "psnr", "ssim", "residual", "seconds", "nfe"} <= set(row)
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["expected"], status["finished"], status["failed"]) == ("finished", 9, 9, 0)
    summary = json.loads((folder / "summary.json").read_text())
    mean = np.mean([r["psnr"] for (_, v), r in rows.items() if v == "own"])
    assert summary["variants"]["own"]["metrics"]["psnr"]["mean"] == pytest.approx(mean)
    assert {r["nfe"] for (_, v), r in rows.items() if v == "own"} == {8}
    assert {r["nfe"] for (_, v), r in rows.items() if v == "no_text"} == {4}
    assert len((folder / "results.csv").read_text().splitlines()) == 10
    assert Image.open(folder / "grid.png").size[0] > 6 * 100


def test_variants_see_the_same_measurement(reference) -> None:
    _, rows = reference
    hashes: dict[str, set] = {}
    for (sample, _), row in rows.items():
        hashes.setdefault(sample, set()).add(row["measurement"])
    assert all(len(found) == 1 for found in hashes.values())
    assert len(set.union(*hashes.values())) == 3


@pytest.mark.parametrize("size", [1, 3])
def test_batch_size_changes_nothing(reference, tmp_path: Path, size: int) -> None:
    folder, rows = reference
    other = go(tmp_path / "run", "data.limit=3", f"data.batch_size={size}")
    assert other.keys() == rows.keys()
    for key, row in rows.items():
        assert other[key]["psnr"] == pytest.approx(row["psnr"], abs=1e-3)
        assert other[key]["measurement"] == row["measurement"]
        assert np.abs(picture(tmp_path / "run", *key) - picture(folder, *key)).max() <= 1


def test_a_run_with_other_texts_is_not_continued(tmp_path: Path) -> None:
    """Texts come from the data, which the identity does not hold."""
    save_png(torch.zeros(3, 64, 64), tmp_path / "photos" / "a.png")
    manifest = tmp_path / "captions.csv"
    manifest.write_text("file,caption\na.png,red apple\n")
    data = ["experiment=single", "data=folder", f"data.path={tmp_path}/photos", f"data.manifest={manifest}"]
    go(tmp_path / "run", *data)
    manifest.write_text("file,caption\na.png,green apple\n")
    with pytest.raises(
        ConfigError, match=r"holds a with the prompt 'red apple', now it is 'green apple'; choose another"
    ):
        go(tmp_path / "run", *data)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


def test_pictures_of_tables_and_archives_are_restored_as_those_of_files(tmp_path: Path) -> None:
    """The same names, texts and pixels give the same figures, from the second sample on as well."""
    datasets = pytest.importorskip("datasets")
    import tarfile

    photos, texts = tmp_path / "photos", {"a": "red apple", "b": "green pear", "c": "blue plum"}
    for seed, name in enumerate(texts):
        save_png(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1, photos / f"{name}.png")
    manifest = tmp_path / "captions.csv"
    manifest.write_text("file,caption\n" + "".join(f"{name}.png,{text}\n" for name, text in texts.items()))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, text in texts.items():
            tar.add(photos / f"{name}.png", f"{name}.png")
            (photos / "t").write_text(text)
            tar.add(photos / "t", f"{name}.txt")
    (photos / "t").unlink()
    table = {"image": [str(photos / f"{name}.png") for name in texts], "text": [*texts.values()], "key": [*texts]}
    datasets.Dataset.from_dict(table).cast_column("image", datasets.Image()).save_to_disk(tmp_path / "hf")
    part = ["experiment=single", "data.limit=2", "data.offset=1"]
    expected = go(tmp_path / "r0", *part, "data=folder", f"data.path={photos}", f"data.manifest={manifest}")
    assert [key[0] for key in expected] == ["b", "c"]
    hf = ["data=hf_dataset", f"data.path={tmp_path}/hf", "data.sample_id=key", "data.captions={caption: text}"]
    for number, data in enumerate((["data=webdataset", f"data.path={tmp_path}/s.tar"], hf), 1):
        made = go(tmp_path / f"r{number}", *part, *data)
        assert made.keys() == expected.keys()
        for key, row in made.items():
            names = ("psnr", "residual", "measurement", "prompt")
            assert [row[name] for name in names] == [expected[key][name] for name in names]


def test_the_same_command_continues_and_repeats_nothing(reference, capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = reference
    lines = (folder / "rows" / "rank-0.jsonl").read_text().splitlines()
    (folder / "rows" / "rank-0.jsonl").write_text("\n".join([*lines[:4], lines[4][:30]]))
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["precision"] == "float32"
    (folder / "environment.json").write_text(json.dumps(environment | {"precision": "bfloat16"}))
    again = go(folder, "data.limit=3", "data.batch_size=2")
    told = capsys.readouterr().out
    assert f"continuing {folder}: 4 of 9 restorations are there" in told
    assert "note: earlier restorations were computed in bfloat16, these are in float32" in told
    assert len(again) == 9
    kept = [json.loads(line) for line in lines[:4]]
    assert all(again[k["sample_id"], k["variant"]]["seconds"] == k["seconds"] for k in kept)
    assert again.keys() == rows.keys()
    for key, row in rows.items():
        assert again[key]["psnr"] == pytest.approx(row["psnr"], abs=1e-3)
    environment = json.loads((folder / "environment.json").read_text()) | {"git": "0123abc"}
    (folder / "environment.json").write_text(json.dumps(environment))
    go(folder, "data.limit=3")
    told = capsys.readouterr().out
    assert f"nothing to do: {folder} holds all 9 restorations; another run_dir makes them anew" in told
    assert "note: they were made by revision 0123abc, this is" in told
    with pytest.raises(ConfigError, match=r"solver\.steps=4, this one has solver\.steps=5"):
        go(folder, "data.limit=3", "solver.steps=5")


def test_draws_differ_and_share_the_measurement(tmp_path: Path) -> None:
    run(composed(*BASE, f"run_dir={tmp_path}/r", "data.limit=2", "draws=3", "experiment=single"))
    rows = [json.loads(line) for line in (tmp_path / "r" / "rows" / "rank-0.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["sample_id"] == rows[0]["sample_id"]]
    assert [row["draw"] for row in rows] == [0, 1, 2]
    assert rows[0]["measurement"] == rows[1]["measurement"]
    assert rows[0]["psnr"] != rows[1]["psnr"]
    assert len(list((tmp_path / "r" / "samples").glob("*/own/draw_00[012]/reconstruction.png"))) == 6


def test_draws_are_summed_up_by_mean_and_deviation(tmp_path: Path) -> None:
    run(composed(*BASE, f"run_dir={tmp_path}/r", "data.limit=2", "draws=3", "experiment=single"))
    (folder, other) = sorted((tmp_path / "r" / "samples").iterdir())
    stack = np.stack([np.asarray(Image.open(f)) / 127.5 - 1 for f in sorted(folder.glob("own/draw_*/*.png"))])
    mean = np.asarray(Image.open(folder / "own" / "mean.png")) / 127.5 - 1
    assert np.abs(mean - stack.mean(0)).max() <= 1 / 255 + 1e-9
    deviation = np.sqrt(stack.var(0, ddof=1).mean(-1))
    assert (
        np.abs(np.asarray(Image.open(folder / "own" / "std.png")) / 255 * 0.5 - deviation.clip(max=0.5)).max() < 0.002
    )
    rows = csv.DictReader((tmp_path / "r" / "posterior.csv").open())
    table = sorted(rows, key=lambda row: row["sample_id"])
    assert [(row["sample_id"], row["draws"]) for row in table] == [(f.name, "3") for f in (folder, other)]
    assert float(table[0]["posterior_std"]) == pytest.approx(np.sqrt(stack.var(0, ddof=1).mean()), rel=1e-6)
    target = np.asarray(Image.open(folder / "target.png")) / 127.5 - 1
    assert float(table[0]["psnr_of_mean"]) == pytest.approx(10 * np.log10(4 / ((stack.mean(0) - target) ** 2).mean()))
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())["variants"]["own"]["metrics"]
    assert summary["posterior_std"]["n"] == 2
    assert summary["psnr_of_mean"]["mean"] > summary["psnr"]["mean"]
    assert Image.open(tmp_path / "r" / "posterior.png").size[0] > 4 * 192


def test_real_measurements_have_no_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scans" / "one.png")
    (tmp_path / "scans" / "two.heic").touch()
    rows = go(tmp_path / "r", "data=measurements", f"data.path={tmp_path}/scans", "prompt=fixed", "prompt.text=a cat")
    told = capsys.readouterr().out
    assert "note: bicubic downsampling mirrors the image at its edges; Pillow and torch do not." in told
    assert f"note: 1 file of {tmp_path}/scans left out: 1 .heic (convert to PNG or JPEG)\n" in told
    assert set(rows) == {("one", "fixed_text"), ("one", "no_text")}
    row = rows["one", "fixed_text"]
    assert row["psnr"] is None
    assert row["ssim"] is None
    assert 0 < row["residual"] < 60
    folder = tmp_path / "r" / "samples" / "one"
    assert not (folder / "target.png").exists()
    assert np.array_equal(np.asarray(Image.open(folder / "measurement.png")), pixels)


@pytest.mark.parametrize(
    ("task", "name"), [("denoising", "pseudo_inverse"), ("gamma_correction", "preview"), ("phase_retrieval", None)]
)
def test_the_preview_is_computed_once_and_named_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, name: str | None
) -> None:
    calls = []
    for kind in (Operator, LinearOperator):
        preview = kind.preview
        monkeypatch.setattr(kind, "preview", lambda self, y, preview=preview: [calls.append(y), preview(self, y)][1])
    rows = go(tmp_path / "r", "data.limit=1", f"task={task}", "solver=unconditional", "metrics=residual")
    assert len(rows) == 3
    assert len(calls) == 1
    (sample,) = (tmp_path / "r" / "samples").iterdir()
    assert {f.stem for f in sample.glob("*.png")} == {"target", "measurement", *([name] if name else [])}
    assert Image.open(tmp_path / "r" / "grid.png").width == 2 * 28 + 32 + (5 + bool(name)) * 192 + (3 + bool(name)) * 12


def test_a_non_finite_image_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solve = TReg.solve

    def broken(self, *args, **kwargs) -> Restoration:
        signal = solve(self, *args, **kwargs).signal
        signal[0, 0, 0, 0] = torch.nan
        return Restoration(signal)

    monkeypatch.setattr(TReg, "solve", broken)
    with pytest.raises(RunFailedError, match="1 of 3 restorations failed"):
        go(tmp_path / "r", "data.limit=3", "experiment=single")
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["finished"], status["failed"]) == ("failed", 2, 1)
    failure = json.loads((tmp_path / "r" / "failures" / "rank-0.jsonl").read_text())
    assert "non-finite" in failure["error"]
    monkeypatch.undo()
    assert len(go(tmp_path / "r", "data.limit=3", "experiment=single")) == 3


def test_an_exception_leaves_its_name_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(TReg, "solve", explode)
    with pytest.raises(RuntimeError, match="out of luck"):
        go(tmp_path / "r", "data.limit=1", "experiment=single")
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "out of luck" in status["error"]


@pytest.mark.parametrize(
    ("number", "error", "state"), [(9, ProcessLostError, "failed"), (15, KeyboardInterrupt, "interrupted")]
)
def test_a_lost_process_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[BaseException], state: str
) -> None:
    command = ("-c", f"import os; os.kill(os.getpid(), {number})")
    monkeypatch.setattr("treg_exp.restoring.Workers", lambda commands: Workers([command for _ in commands]))
    with pytest.raises(error, match=f"process 1 of the run ended with code -{number}; the same command continues"):
        go(tmp_path / "r", "data.limit=2", "experiment=single", "data.batch_size=1", "trainer.devices=2",
           "trainer.accelerator=cpu")  # fmt: skip
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert status["state"] == state
    assert status["finished"] < 2
    assert not list((tmp_path / "r").rglob("*.tmp"))
    assert len(go(tmp_path / "r", "data.limit=2", "experiment=single")) == 2


def test_a_broken_wandb_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **kwargs: 1 / 0)
    rows = go(tmp_path / "r", "data.limit=1", "experiment=single", "logger=wandb")
    assert len(rows) == 1
    assert "W&B failed" in caplog.text


def test_every_restoration_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(TReg, "solve", lambda self, problem, *args: Restoration(torch.full((1, 3, 64, 64), torch.nan)))
    with pytest.raises(RunFailedError, match="1 of 1 restorations failed"):
        go(tmp_path / "r", "data.limit=1", "experiment=single")
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["finished"], status["failed"]) == ("failed", 0, 1)
    assert not (tmp_path / "r" / "grid.png").exists()
    assert f"results: {tmp_path}/r  (results.csv, summary.json, samples/)" in capsys.readouterr().out


def test_a_finished_run_keeps_its_environment(reference) -> None:
    folder, _ = reference
    before = (folder / "environment.json").stat().st_mtime_ns
    go(folder, "data.limit=3")
    assert (folder / "environment.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("accelerator=gpu", r"trainer\.accelerator=gpu: this machine has no GPU"),
        ("devices=[0,1]", r"trainer\.devices=\[0, 1\]: a list names GPUs"),
        ("devices=many", r"trainer\.devices=many: allowed are a number, auto, or a list"),
        ("devices=null", r"trainer\.devices=null: must be "),
    ],
)
def test_devices_are_checked_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, told: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match=told):
        go(tmp_path / "r", "data.limit=1", f"trainer.{setting}")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_launcher_and_settings_that_disagree_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr("treg_exp.app.launched", lambda: Place(rank, 2, rank))
    with pytest.raises(ConfigError, match=r"trainer\.devices=1.*: the launcher has started 2 processes"):
        go(tmp_path / "r", "data.limit=1")
    with pytest.raises(ConfigError, match="mode=fit: trains in one process, and the launcher has started 2"):
        run(composed_alone("mode=fit", "recipe=emoji64/unet", f"run_dir={tmp_path}/r"))
    assert not (tmp_path / "r").exists()


def test_dry_run_computes_nothing(tmp_path: Path, capsys) -> None:
    run(composed(*BASE, f"run_dir={tmp_path}/r", "data.limit=2", "dry_run=true", "solver.steps=10"))
    printed = capsys.readouterr().out
    assert "restorations: 6 (2 images" in printed
    assert "NFE:          100 network evaluations" in printed  # 2 * (20 + 10 + 20)
    assert not (tmp_path / "r").exists()


def test_dry_run_is_printed_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("treg_exp.app.launched", lambda: Place(rank=1, world=2))
    run(composed(*BASE, f"run_dir={tmp_path}/r", "data.limit=1", "dry_run=true"))
    assert capsys.readouterr().out == ""


def test_dry_run_says_about_where_steps_differ_in_cost(tmp_path: Path, capsys) -> None:
    """Dps takes no guidance: one evaluation between the data steps, two in them."""
    more = ["experiment=single", "dry_run=true", "solver.steps=10", "solver.off_window=dps"]
    run(composed(*BASE, f"run_dir={tmp_path}/r", "data.limit=1", *more))
    assert re.search(r"NFE:          about \d+ network evaluations", capsys.readouterr().out)
