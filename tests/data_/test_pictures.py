"""Image files become exactly the pixels that the documentation promises, for any size and kind."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from treg_exp.data.pictures import check_colour, check_size, read_rgb, resize, to_tensor
from treg_exp.errors import FieldError, FileError

sides = st.integers(1, 40)
colours = st.tuples(*[st.integers(0, 255)] * 3)
ROTATED = {  # what a viewer does with the stored (h, w) pixels, by EXIF orientation
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(sides, sides, st.just(3))), st.sampled_from(["png", "bmp", "tif", "webp"]))
def test_lossless_files_keep_every_value(pixels: np.ndarray, kind: str) -> None:
    with TemporaryDirectory() as temporary:
        path = Path(temporary, f"a.{kind}")
        Image.fromarray(pixels).save(path, **({"lossless": True} if kind == "webp" else {}))
        x = to_tensor(read_rgb(path))
    assert (x.dtype, x.shape) == (torch.float32, (3, *pixels.shape[:2]))
    np.testing.assert_allclose(x.permute(1, 2, 0), pixels / 127.5 - 1, atol=2e-7)


@settings(max_examples=50, deadline=None)
@given(sides, sides, st.integers(1, 32), colours, st.sampled_from(["crop", "pad", "stretch"]))
def test_any_size_becomes_square_and_keeps_a_flat_colour(width, height, size, colour, fit) -> None:
    background = tuple(255 - value for value in colour)
    image = Image.new("RGB", (width, height), colour)
    square = np.asarray(resize(image, size, fit, f"rgb{background}"))
    assert square.shape == (size, size, 3)
    inner = (
        [max(1, round(side * size / max(width, height))) for side in (height, width)] if fit == "pad" else [size] * 2
    )
    assert (square == colour).all(-1).sum() == inner[0] * inner[1]
    assert (square == background).all(-1).sum() == size * size - inner[0] * inner[1]


@given(arrays(np.uint8, st.integers(1, 16).map(lambda side: (side, side, 3))), st.sampled_from(["crop", "stretch"]))
def test_the_wanted_size_is_not_resampled(pixels: np.ndarray, fit) -> None:
    assert np.array_equal(np.asarray(resize(Image.fromarray(pixels), len(pixels), fit)), pixels)


@given(arrays(np.uint8, st.tuples(sides, sides, st.just(3))))
def test_crop_keeps_the_centre_in_both_directions(pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = np.asarray(resize(Image.fromarray(pixels), side, "crop"))
    assert np.array_equal(cropped, pixels[top : top + side, left : left + side])


@pytest.mark.parametrize("orientation", ROTATED)
def test_every_exif_orientation(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.png")), ROTATED[orientation](pixels))


def test_all_16_bit_greys_are_rounded_from_their_257_levels(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for kind in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{kind}")
        got = np.asarray(read_rgb(tmp_path / f"a.{kind}"))
        assert np.array_equal(got[..., 0], np.rint(values / 257))
        assert np.array_equal(got[..., 0], got[..., 2])


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=25, deadline=None)
def test_alpha_mixes_with_the_background(grey: int, alpha: int, behind: int) -> None:
    with TemporaryDirectory() as temporary:
        path = Path(temporary, "a.png")
        Image.new("LA", (2, 2), (grey, alpha)).save(path)
        mixed = np.asarray(read_rgb(path, f"rgb({behind},{behind},{behind})")).astype(float)
        assert np.abs(mixed - (grey * alpha + behind * (255 - alpha)) / 255).max() <= 1
        if alpha == 255:
            assert np.array_equal(np.asarray(read_rgb(path, None)), mixed)
        else:
            with pytest.raises(FileError, match=r"a\.png: it has transparent pixels"):
                read_rgb(path, None)


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("#ff0000", "#0000ff")]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], **options)
    assert np.unique(np.asarray(read_rgb(tmp_path / f"a.{kind}")).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize(("inks", "rgb"), [((0, 0, 0, 0), 255), ((255, 255, 255, 0), 0), ((0, 0, 0, 255), 0)])
def test_cmyk_inks_darken(tmp_path: Path, inks: tuple[int, ...], rgb: int) -> None:
    for kind in ("tif", "jpg"):
        Image.new("CMYK", (8, 8), inks).save(tmp_path / f"a.{kind}")
        assert np.abs(np.asarray(read_rgb(tmp_path / f"a.{kind}")).astype(int) - rgb).max() <= 1


def test_settings_that_no_image_can_have() -> None:
    for size in (0, -8):
        with pytest.raises(FieldError, match=rf"^image_size={size}: must be at least 1 pixel"):
            check_size(size)
    for colour in ("whit", "#ff000080", "rgba(0,0,0,0)", ""):
        with pytest.raises(FieldError, match=r"^background=.*: is no colour; use a name such as white, or #"):
            check_colour(colour)
