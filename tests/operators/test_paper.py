"""Presets of papers: their names, and their sizes at the papers' sides."""

from __future__ import annotations

import pytest

from tests.operators.tasks import PAPER, load_task


def test_every_paper_names_itself() -> None:
    for name in PAPER:
        assert f"paper/{load_task(name).name}" == name


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("eyes", (180, 289), (100, 399)), ("mouth", (330, 429), (170, 339))]
)
def test_the_boxes_of_treg_at_512_pixels(name: str, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    hole = load_task(f"paper/treg_box_{name}").build((3, 512, 512), ["a"]).measured()[0, 0] == 0
    y, x = hole.nonzero(as_tuple=True)
    assert (int(y.min()), int(y.max())) == rows
    assert (int(x.min()), int(x.max())) == columns


def test_boxes_at_random_places_keep_their_margin() -> None:
    ids = [str(i) for i in range(50)]
    masks = load_task("paper/daps_box_inpainting").build((3, 256, 256), ids).mask
    assert masks.flatten(1).sum(1).unique().tolist() == [256**2 - 128**2]
    assert int((masks[:, 0, :16] == 0).sum() + (masks[..., -16:] == 0).sum()) == 0
    assert len({masks[i].numpy().tobytes() for i in range(50)}) > 40
