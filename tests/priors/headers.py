"""Weights of any size that take no room: a safetensors file of which only the header is written."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from treg_exp.priors.families import stable_diffusion
from treg_exp.priors.folder_files import stem_of
from treg_exp.priors.network_check import empty_network
from treg_exp.priors.stored_tensors import Shapes
from treg_exp.priors.weights_fit import shapes_of


def write_header(file: Path, shapes: Shapes) -> None:
    """A file that claims to hold float16 tensors; it is sparse, and all of them are 0."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        opened.truncate(8 + len(text) + end)


def write_headers(folder: Path, part: str) -> None:
    """The weights that the configuration of one part of a Stable Diffusion describes."""
    network = stable_diffusion.networks(folder)[part]
    file = folder / part / f"{stem_of(network)}.safetensors"
    file.unlink(missing_ok=True)
    write_header(file, shapes_of(empty_network(network, folder / part)))
