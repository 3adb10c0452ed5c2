"""Real measurements: what a camera or a scanner gave, without a known target."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from treg_exp.data.listing import check_files, list_files
from treg_exp.data.manifest import match, read_manifest
from treg_exp.data.pictures import EXTENSIONS, check_header, read_rgb, to_tensor
from treg_exp.errors import ConfigError
from treg_exp.types import Sample

ARRAYS = (".npy", ".npz", ".pt")


class MeasurementFolder:
    """All measurements below a folder, in the order of their relative paths; see ``docs/data.md``.

    An image file becomes (3, h, w) or (1, h, w) in [-1, 1] at its own size. An array file (``.npy``, ``.npz``
    or ``.pt``, the latter two with the key ``y`` or a single entry) is taken as it is: floating point, no
    batch axis, in the shape and the [-1, 1] units of the operator's output.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        colour: how image files are read, ``rgb`` or ``grey``.
        manifest: CSV or JSONL file with texts, or None.
        verify: check every header now, as in :class:`~treg_exp.data.folder.ImageFolder`.

    Raises:
        ConfigError: folder or manifest do not exist, or there are no, unusable or unlisted files.
    """

    def __init__(
        self,
        path: str | Path,
        colour: Literal["rgb", "grey"] = "rgb",
        manifest: str | Path | None = None,
        verify: bool = True,
    ) -> None:
        if colour not in ("rgb", "grey"):
            raise ConfigError(f"data.colour={colour!r} is unknown; choose one of: rgb, grey")
        self.files = list_files(path, EXTENSIONS + ARRAYS)
        if verify:
            check_files(path, list(self.files.values()), _unusable)
        self.colour = colour
        self._ids = list(self.files)
        self._texts: dict[str, dict[str, str]] = {}
        if manifest is not None:
            self._texts = read_manifest(manifest)
            match(self._texts, {sample_id: file.name for sample_id, file in self.files.items()}, manifest)

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._texts.get(self._ids[index], {})

    def __getitem__(self, index: int) -> Sample:
        sample_id = self._ids[index]
        file = self.files[sample_id]
        if file.suffix.lower() in ARRAYS:
            y = read_array(file)
        else:
            image = read_rgb(file, background=None)  # an invented background would be invented data
            y = to_tensor(image.convert("L") if self.colour == "grey" else image)
        return Sample(sample_id, measurement=y, captions=self.captions(index))


def read_array(path: Path) -> Tensor:
    """A stored array as float32, in its own shape; ConfigError for anything but finite floating point."""
    try:
        stored = torch.as_tensor(_open_array(path))
    except ConfigError:
        raise
    except Exception as error:  # a broken or pickled file fails in many ways
        raise ConfigError(f"cannot read the array {path}: {error}") from error
    if not stored.is_floating_point():
        raise ConfigError(
            f"{path} holds {stored.dtype} values; a measurement is floating point in [-1, 1] units "
            "(an 8-bit picture: save it as PNG, or store x / 127.5 - 1)"
        )
    y = stored.to(torch.float32)
    if not y.isfinite().all():
        raise ConfigError(f"{path} holds NaN or infinite values; fill or mask them before the restoration")
    return y


def _open_array(path: Path) -> np.ndarray | Tensor:
    """The array or tensor inside a file; nothing that could run code is unpickled."""
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[_entry(path, archive.files)])
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, Mapping):
        stored = stored[_entry(path, list(stored))]
    if not isinstance(stored, Tensor):
        raise ConfigError(f"{path} holds a {type(stored).__name__}, not a tensor")
    return stored


def _entry(path: Path, names: Sequence[str]) -> str:
    """The entry ``y``, or the only one."""
    if "y" in names or len(names) == 1:
        return "y" if "y" in names else names[0]
    raise ConfigError(f"{path} needs an entry 'y'; it holds: {', '.join(map(str, names)) or 'nothing'}")


def _unusable(path: Path) -> str | None:
    """Why a measurement file cannot be used, judged by its header, or None."""
    suffix = path.suffix.lower()
    if suffix not in ARRAYS:
        return check_header(path)
    if suffix == ".npy":
        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            return str(error)
        return None
    return None if zipfile.is_zipfile(path) else f"no {suffix} archive"
