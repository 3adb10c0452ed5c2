"""Array files: the same numbers from every kind, and one line for what cannot be a measurement."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from treg_exp.data.arrays import read_array
from treg_exp.errors import FileError

FLOATS = ["<f2", "<f4", "<f8", ">f4", ">f8", np.dtype(np.longdouble).str]
halves = st.floats(-2, 2, width=16)  # every type above holds them exactly


@settings(max_examples=25, deadline=None)
@given(arrays(np.float16, array_shapes(max_dims=4, max_side=4), elements=halves), st.sampled_from(FLOATS))
def test_every_kind_and_type_gives_the_same_float32(values: np.ndarray, dtype: str) -> None:
    stored = values.astype(dtype)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.save(folder / "a.npy", stored)
        np.save(folder / "fortran.npy", np.asfortranarray(stored))
        np.savez(folder / "b.npz", stored)
        torch.save(torch.from_numpy(values), folder / "c.pt")
        torch.save({"y": torch.from_numpy(values), "other": torch.zeros(2)}, folder / "d.pt")
        for file in sorted(folder.iterdir()):
            y = read_array(file)
            assert (y.dtype, y.shape) == (torch.float32, values.shape)
            assert np.array_equal(y.numpy(), values.astype(np.float32))


def test_a_parameter_loses_its_gradient(tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(torch.ones(3, 2, 2)), tmp_path / "a.pt")
    assert not read_array(tmp_path / "a.pt").requires_grad


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((3, 2, 2), np.uint8), r"torch\.uint8 values; .* store x / 127\.5 - 1\)"),
        (np.zeros((3, 2, 2), bool), r"torch\.bool values"),
        (np.zeros((3, 2, 2), complex), r"torch\.complex128 values"),
        (np.array(["text"]), r"cannot read the array .*a\.npy: "),
        (np.full((3, 2, 2), 1e300), r"a\.npy holds NaN or infinite values"),
        (np.full((3, 2, 2), -np.inf), r"a\.npy holds NaN or infinite values"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
@pytest.mark.filterwarnings("error")
def test_arrays_that_are_no_measurement(tmp_path: Path, stored: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", stored)
    with pytest.raises(FileError, match=message):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([1.0, 2.0], r"holds a list, not a tensor$"),
        ({"y": "text"}, r"holds a str, not a tensor$"),
        ({}, r"needs an entry 'y'; it holds: nothing$"),
        ({"u": torch.zeros(2), "v": torch.zeros(2)}, r"needs an entry 'y'; it holds: u, v$"),
        (torch.eye(3).to_sparse(), r"holds a sparse tensor; save it with \.to_dense\(\)$"),
        (torch.nn.Linear(2, 2), r"cannot read the array .*a\.pt: it holds more than tensors\. Save the tensor alone$"),
    ],
    ids=["list", "text", "empty", "two", "sparse", "module"],
)
def test_torch_files_that_are_no_measurement(tmp_path: Path, stored: Tensor | object, message: str) -> None:
    torch.save(stored, tmp_path / "a.pt")
    with pytest.raises(FileError, match=message) as caught:
        read_array(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["npy", "npz", "pt"])
def test_cut_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    values = np.zeros((3, 40, 40))
    if kind == "pt":
        torch.save(torch.from_numpy(values), path)
    else:
        (np.save if kind == "npy" else np.savez)(path, values)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(FileError, match=rf"cannot read the array .*a\.{kind}: "):
        read_array(path)
