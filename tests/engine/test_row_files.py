"""What counts as done: rows as they come, and those that a continued run cannot count on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from tests.engine.plans import plan_of
from treg_exp.engine.row_files import Marks, drop_damaged_rows
from treg_exp.engine.stored_rows import StoredRows
from treg_exp.files import append_json_line
from treg_exp.run_layout import RunLayout, read_rows
from treg_exp.signals.audio import AudioMedium
from treg_exp.signals.image import ImageMedium

IMAGE = ImageMedium()
PLAN = plan_of("abc")
SHARED = {"": {"target", "measurement"}}


def row(name: str, **more: object) -> dict[str, object]:
    return {"sample_id": name, "variant": "own", "draw": 0, "prompt": name, "psnr": 1.5, **more}


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Three restorations of three samples, by two processes."""
    layout = RunLayout(tmp_path)
    for rank, name in enumerate("abc"):
        append_json_line(layout.rows / f"rank-{rank % 2}.jsonl", row(name))
        for stem in ("target", "pseudo_inverse", "measurement", "own/reconstruction"):
            IMAGE.save(torch.zeros(3, 8, 8), layout.sample(name) / stem)
    return layout


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def names(layout: RunLayout) -> list[str]:
    return sorted(row["sample_id"] for row in read_rows(layout.path))


def test_a_sound_run_is_left_as_it_is(layout: RunLayout) -> None:
    before = {file: file.stat().st_mtime_ns for file in layout.path.rglob("*")}
    assert drop_damaged_rows(layout, PLAN, ["psnr"], SHARED) == []
    assert {file: file.stat().st_mtime_ns for file in layout.path.rglob("*")} == before


@pytest.mark.parametrize("how", [damage, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_row_counts_only_with_its_picture(layout: RunLayout, how) -> None:
    how(layout.sample("a") / "own" / "reconstruction.png")
    assert drop_damaged_rows(layout, PLAN, ["psnr"], SHARED) == [("a", "own", 0)]
    assert names(layout) == ["b", "c"]


@pytest.mark.parametrize(
    "bad", [row("b", psnr="high"), row("b", psnr=[1]), row("b", prompt=None), {"sample_id": "b", "variant": "own"}]
)
def test_a_row_counts_only_with_what_it_has_to_hold(layout: RunLayout, bad: dict[str, object]) -> None:
    file = layout.rows / "rank-1.jsonl"
    file.write_text(json.dumps(bad) + "\n")
    append_json_line(file, row("of another work item", psnr="high"))
    assert drop_damaged_rows(layout, PLAN, ["psnr"], SHARED) == [("b", "own", 0)]
    assert names(layout) == ["a", "c", "of another work item"]


def test_a_shared_file_is_written_anew_by_the_first_restoration_of_its_sample(layout: RunLayout) -> None:
    append_json_line(layout.rows / "rank-0.jsonl", row("a", variant="other"))
    IMAGE.save(torch.zeros(3, 8, 8), layout.sample("a") / "other" / "reconstruction")
    damage(layout.sample("a") / "pseudo_inverse.png")
    damage(layout.sample("b") / "target.png")
    assert drop_damaged_rows(layout, plan_of("abc", "own", "other"), [], SHARED) == [("a", "own", 0), ("b", "own", 0)]
    assert sorted(file.name for file in layout.sample("a").glob("*.png")) == ["target.png"]
    assert sorted(file.name for file in layout.sample("b").glob("*.png")) == ["measurement.png", "pseudo_inverse.png"]
    assert sorted((r["sample_id"], r["variant"]) for r in read_rows(layout.path)) == [("a", "other"), ("c", "own")]


def test_a_shared_file_that_is_missing_is_written_anew(layout: RunLayout) -> None:
    (layout.sample("b") / "target.png").unlink()
    (layout.sample("c") / "measurement.png").unlink()
    tasks = plan_of("abc", tasks=2)  # b has another task, whose samples have no target
    for file in layout.rows.glob("*"):
        file.unlink()
    append_json_line(layout.rows / "rank-0.jsonl", *(row(name, task=f"t{i % 2}") for i, name in enumerate("abc")))
    assert drop_damaged_rows(layout, tasks, [], {"t0": SHARED[""], "t1": {"measurement"}}) == [("c", "own", 0)]
    assert drop_damaged_rows(layout, PLAN, [], SHARED) == [("b", "own", 0)]
    assert names(layout) == ["a"]


def test_a_start_that_is_killed_meanwhile_loses_nothing(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is deleted when its row is gone, so whoever finds the one finds the other."""
    file = layout.sample("a") / "target.png"
    damage(file)
    monkeypatch.setattr("treg_exp.engine.row_files.write_parts", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drop_damaged_rows(layout, PLAN, [], SHARED)
    assert file.is_file()


def test_a_signal_beside_its_picture_counts_too(layout: RunLayout) -> None:
    AudioMedium(8000).save(torch.zeros(2, 1, 64), layout.sample("c") / "own" / "reconstruction")
    assert drop_damaged_rows(layout, PLAN, [], SHARED) == []
    damage(layout.sample("c") / "own" / "reconstruction_2.wav")
    assert drop_damaged_rows(layout, PLAN, [], SHARED) == [("c", "own", 0)]


def test_rows_are_read_once(layout: RunLayout) -> None:
    marks = Marks(layout.rows, plan_of("fabcde"))
    assert marks().tolist() == [False, True, True, True, False, False]
    file = layout.rows / "rank-0.jsonl"
    line = json.dumps(row("d")).encode()
    for part in (line[:20], line[20:]):  # as another process is seen to write it
        with file.open("ab") as stream:
            stream.write(part)
        assert marks()[4] == (part != line[:20])
    append_json_line(file, row("e"), row("of another work item"))
    assert marks().tolist() == [False, True, True, True, True, True]
    file.write_text(json.dumps(row("a")) + "\nnot json\n" + '{"sample_id": 3, "variant": "own"}\n')
    assert marks().tolist() == [False, True, True, False, False, False]


def test_the_cost_of_a_look_does_not_grow_with_what_is_done(tmp_path: Path) -> None:
    """Of 50,000 rows: all are read at the first look, one at every later one."""
    layout = RunLayout(tmp_path)
    file = layout.rows / "rank-0.jsonl"
    append_json_line(file, row("0"))
    with file.open("a") as stream:
        stream.writelines(json.dumps(row(str(i))) + "\n" for i in range(1, 50_000))
    marks = Marks(layout.rows, plan_of([str(i) for i in range(50_004)]))
    seconds = []
    for i in range(4):
        append_json_line(file, row(str(50_000 + i)))
        start = time.perf_counter()
        assert marks().sum() == 50_001 + i
        seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < seconds[0] / 20


def test_rows_come_in_the_order_of_the_plan_however_often_they_are_asked_for(layout: RunLayout) -> None:
    append_json_line(layout.rows / "rank-1.jsonl", row("c", psnr=9.0), row("of another work item"), row("d"))
    with (layout.rows / "rank-1.jsonl").open("ab") as stream:
        stream.write(b'{"sample_id": "e", "var')
    rows = StoredRows(layout, plan_of("edcba"))
    assert len(rows) == 4
    for _ in range(2):
        assert [(r["sample_id"], r["psnr"]) for r in rows] == [("d", 1.5), ("c", 1.5), ("b", 1.5), ("a", 1.5)]
    assert row("a") in rows
    assert list(StoredRows(layout, plan_of("x"))) == []


def test_garbled_lines_are_no_rows(layout: RunLayout) -> None:
    with (layout.rows / "rank-0.jsonl").open("ab") as stream:
        for line in (bytes(range(256)), b"[" * 100_000, b'{"sample_id": "x"}', b'{"sample_id": "x", "variant": 1}'):
            stream.write(line + b"\n")
    assert names(layout) == ["a", "b", "c"]
    assert drop_damaged_rows(layout, PLAN, ["psnr"], SHARED) == []
