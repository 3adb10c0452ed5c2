"""The packaged set, real measurements, and parts of a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from treg_exp.data.base import TextTable, subset
from treg_exp.data.emoji_test import EmojiTest
from treg_exp.data.gallery import Gallery
from treg_exp.data.measurements import MeasurementFolder
from treg_exp.errors import FieldError, FileError

HEADER = "sample_id,caption,counterfactual,name,style,category\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A set of the packaged layout with 5 samples, 2 of them with a counterfactual."""
    (tmp_path / "images").mkdir()
    lines = [f"e{i},caption {i},{f'other {i}' if i < 2 else ''},name {i},flat,food\n" for i in range(5)]
    (tmp_path / "captions.csv").write_text(HEADER + "".join(lines))
    for i in range(5):
        Image.fromarray(np.full((64, 64, 3), 50 * i, np.uint8)).save(tmp_path / "images" / f"e{i}.png")
    return tmp_path


def test_emoji_layout(small: Path) -> None:
    data = EmojiTest(path=small)
    assert data.ids == ["e0", "e1", "e2", "e3", "e4"]
    sample = data[1]
    assert sample.captions == {
        "caption": "caption 1",
        "counterfactual": "other 1",
        "name": "name 1",
        "style": "flat",
        "category": "food",
    }
    assert sample.target is not None
    assert sample.target.shape == (3, 64, 64)
    assert sample.target.unique().tolist() == pytest.approx([50 / 127.5 - 1])
    assert data[2].captions == {"caption": "caption 2", "name": "name 2", "style": "flat", "category": "food"}
    large = EmojiTest(image_size=128, path=small)[0].target
    assert large is not None
    assert large.shape == (3, 128, 128)


def test_emoji_only_selects_samples_with_the_role(small: Path) -> None:
    assert EmojiTest(path=small, only="counterfactual").ids == ["e0", "e1"]
    with pytest.raises(FieldError, match=r"^only=hue: .*are caption, counterfactual, name, counterfactual_name, style"):
        EmojiTest(path=small, only="hue")


def test_emoji_with_a_missing_image_is_refused(small: Path) -> None:
    (small / "images" / "e3.png").unlink()
    with pytest.raises(FileError, match=r"incomplete: 1 images such as e3\.png"):
        EmojiTest(path=small)
    with pytest.raises(FileError, match=r"incomplete: 1 images such as e3\.png"):
        Gallery(path=small)


def test_emoji_with_a_broken_image_or_none_is_refused(small: Path) -> None:
    (small / "images" / "e3.png").write_bytes(b"")
    with pytest.raises(FileError, match=r"1 of 5 files in .*images cannot be used: e3\.png"):
        subset(EmojiTest(path=small))
    assert list(subset(EmojiTest(path=small), limit=3).ids) == ["e0", "e1", "e2"]  # it is not selected
    with pytest.raises(FieldError, match=r"^path=.*nowhere/images: does not exist"):
        EmojiTest(path=small / "nowhere")


def test_packaged_set() -> None:
    data = EmojiTest()
    assert len(data) == 200
    assert len(EmojiTest(only="counterfactual")) >= 24
    for index in range(200):
        texts = data.captions(index)
        assert texts["caption"] == f"{texts['name']}, {texts['style']} style"
        assert texts["counterfactual"] == f"{texts['counterfactual_name']}, {texts['style']} style"
    target = data[0].target
    assert target is not None
    assert target.shape == (3, 64, 64)
    assert Image.open(EmojiTest.packaged / "images" / f"{data.ids[0]}.png").size == (64, 64)


def test_subset(small: Path) -> None:
    data = EmojiTest(path=small)
    assert subset(data) is data
    part = subset(data, limit=2, offset=1)
    assert (list(part.ids), len(part), part[1].sample_id) == (["e1", "e2"], 2, "e2")
    assert part.captions(0) == data.captions(1)
    assert list(TextTable(part)) == [("e1", data.captions(1)), ("e2", data.captions(2))]
    rest = subset(data, limit=99, offset=3)
    assert (list(rest.ids), len(rest)) == (["e3", "e4"], 2)
    assert [sample.sample_id for sample in part] == ["e1", "e2"]  # type: ignore[attr-defined]
    with pytest.raises(FieldError, match=r"^limit=0: must be >= 1"):
        subset(data, limit=0)
    with pytest.raises(FieldError, match=r"^offset=5: must be in \[0, 4\]"):
        subset(data, offset=5)


def test_measurements_of_every_kind(tmp_path: Path) -> None:
    y = torch.linspace(-1.5, 1.5, 24).reshape(3, 2, 4)
    Image.fromarray(np.full((3, 5), 255, np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", y.double().numpy())
    np.savez(tmp_path / "c.npz", y=y.numpy(), mask=np.zeros(2))
    torch.save(y.half(), tmp_path / "d.pt")
    torch.save({"y": y}, tmp_path / "e.pt")
    data = MeasurementFolder(tmp_path)
    assert data.ids == ["a", "b", "c", "d", "e"]
    first = data[0]
    assert first.target is None
    assert first.measurement is not None
    assert torch.equal(first.measurement, torch.ones(3, 3, 5))
    for index in range(1, 5):
        stored = data[index].measurement
        assert stored is not None
        assert stored.dtype == torch.float32
        torch.testing.assert_close(stored, y, atol=1e-3, rtol=0)
    grey = MeasurementFolder(tmp_path, colour="grey")[0].measurement
    assert grey is not None
    assert grey.shape == (1, 3, 5)


def test_measurements_that_would_be_misread_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 2, 2), np.uint8))
    np.save(tmp_path / "b.npy", np.full((3, 2, 2), np.nan))
    np.savez(tmp_path / "c.npz", u=np.zeros(2), v=np.zeros(2))
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "d.png")
    data = MeasurementFolder(tmp_path)
    for index, message in enumerate(
        [
            r"torch\.uint8 values.*as PNG",
            "NaN or infinite",
            "needs an entry 'y'; it holds: u, v",
            "transparent pixels",
        ]
    ):
        with pytest.raises(FileError, match=message):
            data[index]


def test_broken_arrays_are_found_at_the_start(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 2, 2)))
    (tmp_path / "b.npy").write_bytes(b"nothing")
    (tmp_path / "c.pt").write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"2 of 3 files in .*: b\.npy \(.*c\.pt \(no \.pt archive\)"):
        subset(MeasurementFolder(tmp_path))


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"y": 1}], dtype=object), allow_pickle=True)
    torch.save({"y": tmp_path}, tmp_path / "b.pt")
    data = MeasurementFolder(tmp_path, verify=False)
    for index, name in enumerate(["a.npy", "b.pt"]):
        with pytest.raises(FileError, match=rf"cannot read the array .*{name}"):
            data[index]
