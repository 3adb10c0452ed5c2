"""Array files (``.npy``, ``.npz``, ``.pt``) -> float32 tensors in their own shape.

Nothing that could run code is unpickled, and nothing is guessed: integers have no defined range, and NaN is no
value to restore from.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from treg_exp.errors import FileError

EXTENSIONS = (".npy", ".npz", ".pt")


def check_header(path: Path) -> str | None:
    """Why the file is no array file, or None; reads the header, not the values."""
    if path.suffix.lower() != ".npy":
        return None if zipfile.is_zipfile(path) else f"no {path.suffix.lower()} archive"
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        return str(error)
    return None


def read_array(path: Path) -> Tensor:
    """The stored array as float32, in its own shape.

    Args:
        path: file of a kind in :data:`EXTENSIONS`; an archive has the entry ``y`` or a single one.

    Raises:
        FileError: the file cannot be read, or holds anything but finite floating point.
    """
    try:
        stored = torch.as_tensor(_stored(path)).detach()
    except FileError:
        raise
    except pickle.UnpicklingError:  # torch's own text has several lines, and advises how to run the code inside
        raise FileError(f"cannot read the array {path}: it holds more than tensors. Save the tensor alone") from None
    except Exception as error:  # a broken file fails in many ways
        raise FileError(f"cannot read the array {path}: {error}") from error
    if stored.layout is not torch.strided:
        raise FileError(f"{path} holds a sparse tensor; save it with .to_dense()")
    if not stored.is_floating_point():
        raise FileError(
            f"{path} holds {stored.dtype} values; a measurement is floating point in [-1, 1] units "
            "(an 8-bit picture: save it as PNG, or store x / 127.5 - 1)"
        )
    y = stored.to(torch.float32)
    if not y.isfinite().all():
        raise FileError(f"{path} holds NaN or infinite values; fill or mask them before the restoration")
    return y


def _stored(path: Path) -> np.ndarray | Tensor:
    """The array or tensor inside a file."""
    if (reason := check_header(path)) is not None:
        raise FileError(f"cannot read the array {path}: {reason}")
    if path.suffix.lower() == ".npy":
        return _native(np.load(path, allow_pickle=False))
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return _native(archive[_entry(path, archive.files)])
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, Mapping):
        stored = stored[_entry(path, list(stored))]
    if not isinstance(stored, Tensor):
        raise FileError(f"{path} holds a {type(stored).__name__}, not a tensor")
    return stored


def _native(array: np.ndarray) -> np.ndarray:
    """Floating point as float32: torch knows neither foreign byte order nor long double."""
    with np.errstate(over="ignore"):  # too large a value becomes infinite, which is refused with its file's name
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def _entry(path: Path, names: Sequence[str]) -> str:
    """The entry ``y``, or the only one."""
    if "y" in names or len(names) == 1:
        return "y" if "y" in names else names[0]
    raise FileError(f"{path} needs an entry 'y'; it holds: {', '.join(map(str, names)) or 'nothing'}")
