"""Weights of networks that do not ship: checked by their header when a metric is made, loaded when it is used.

Safetensors and PyTorch files are read; of the latter only tensors and plain values (``weights_only``), no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from treg_exp.errors import FieldError, FileError
from treg_exp.priors.stored_tensors import stored_shapes
from treg_exp.priors.weights_fit import check_fit, shapes_of

SAFE, TORCH = ".safetensors", (".pth", ".pt")


def check_weights(weights: str | Path | None, network: nn.Module, name: str, how: str) -> Path:
    """The file of a network's weights, after a look at names and shapes; tensors of other names may be there, too.

    Args:
        weights: what the configuration says.
        network: with the tensors that are needed, which may be on the meta device.
        name: of the network, for messages.
        how: which file is needed and where it is had.

    Raises:
        FieldError: there is no such file.
        FileError: it is broken or holds something else.
    """
    file = None if weights is None else Path(weights).expanduser()
    if file is None or file.suffix not in (SAFE, *TORCH) or not file.is_file():
        told = "must be an existing .safetensors, .pth or .pt file"
        raise FieldError("weights", weights, f"{told} with the weights of {name}, which do not ship: {how}")
    wanted = shapes_of(network)
    found = stored_shapes([file]) if file.suffix == SAFE else {n: tuple(v.shape) for n, v in read_torch(file).items()}
    check_fit(str(file), name, wanted, {n: shape for n, shape in found.items() if n in wanted})
    return file


def fill(network: nn.Module, file: Path) -> None:
    """Load the tensors that a network has; the file was checked."""
    from safetensors.torch import load_file

    stored = load_file(file) if file.suffix == SAFE else read_torch(file)
    network.load_state_dict({name: stored[name] for name in network.state_dict()})


def read_torch(file: Path) -> Mapping[str, Tensor]:
    """Tensors by name of a file of PyTorch's, left on the disk until they are used where its format allows that.

    Raises:
        FileError: the file is broken, or holds more than tensors and plain values.
    """
    try:
        try:
            stored = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the old format cannot be mapped
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        told = (str(error).splitlines() or [""])[0]
        raise FileError(f"{file} cannot be read as tensors ({told}); download it again") from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise FileError(f"{file} holds something else than tensors by name; the state of the network is needed")
    return stored


def file_of_torchmetrics(name: str) -> Path:
    """A small file that torchmetrics ships beside its functions for images.

    Raises:
        FileError: the installed version has none.
    """
    found = find_spec("torchmetrics")
    file = Path(found.origin or "").parent / "functional" / "image" / name if found else Path(name)
    if not file.is_file():
        raise FileError(f"the installed torchmetrics lacks {name}: pip install -U 'torchmetrics[image]'")
    return file
