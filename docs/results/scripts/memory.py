"""Peak memory of operators: the last table of docs/results/operators.md."""

from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from treg_exp.bench import _memory
from treg_exp.operators.methods import Descent, Exact

SHAPE = (3, 512, 512)


def print_row(name: str) -> None:
    """Peak of A, of the adjoint or gradient, and of the proximal step, in sizes of the image."""
    x = torch.rand(1, *SHAPE) * 2 - 1
    start = 0.9 * x
    operator = instantiate(OmegaConf.load(Path("conf/task") / f"{name}.yaml")).build(SHAPE, ["any"])
    with torch.no_grad():
        y, operator.exact_iterations = operator.A(x), 20  # more of them take no more memory
        back = operator.adjoint if operator.linear else lambda y: operator.gradient(y, start)
        method = Exact() if operator.linear else Descent(3)
        calls = (lambda: operator.A(x), lambda: back(y), lambda: operator.prox(y, start, 0.01, method))
        print("|", name, *(f"| {_memory(call) / _memory(x.clone):.1f}" for call in calls), "|")


for task in (
    "sparse_view_ct",
    "blurred_sr",
    "deepinv",
    "jpeg",
    "phase_retrieval",
    "gamma_correction",
    "hdr",
    "nonlinear_deblur",
    "blurred_sr_jpeg",
):
    print_row(task)
