"""Which tensors lie in safetensors files: names and shapes from their headers, no weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from treg_exp.errors import FileError
from treg_exp.priors.checked_json import check_content

Shapes = Mapping[str, tuple[int, ...]]


def stored_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Shape by name of all tensors in some files.

    Args:
        files: of one network.

    Raises:
        FileError: a file is broken, truncated or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        check_content(file)
        try:
            with safe_open(file, framework="pt") as opened:
                found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise FileError(f"{file} is truncated or no safetensors file ({error}); download it again") from None
    return found
