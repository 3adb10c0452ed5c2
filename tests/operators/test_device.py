"""Operators on other devices: everything moves along, and a GPU computes what the CPU does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.operators.conftest import IDS
from tests.operators.tasks import NAMES, load_task, smallest_shape
from treg_exp.operators.base import Operator
from treg_exp.operators.methods import Descent, Exact


def tensors(value: object, path: str = "operator") -> Iterator[tuple[str, Tensor]]:
    """Every tensor that an object holds, in attributes, containers, modules and parts."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        yield from value.state_dict(prefix=f"{path}.", keep_vars=True).items()
    elif isinstance(value, Operator):
        for name, attribute in vars(value).items():
            yield from tensors(attribute, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            yield from tensors(entry, f"{path}[{i}]")


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_moves_and_the_original_stays(name: str) -> None:
    operator = load_task(name).build(smallest_shape(name), IDS)
    moved = operator.to("meta")
    found = dict(tensors(moved))
    assert found.keys() == dict(tensors(operator)).keys() != set()
    assert [path for path, tensor in found.items() if tensor.device.type != "meta"] == []
    assert [path for path, tensor in tensors(operator) if tensor.device.type != "cpu"] == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_computes_what_the_cpu_does(name: str) -> None:
    operator = load_task(name).build(smallest_shape(name), IDS)
    x0 = torch.rand(3, *operator.signal_shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    y = operator.A(x0.flip(0))
    moved, lam = operator.to("cuda"), 0.1 * operator.norm_sq
    method = Exact() if operator.linear else Descent(3)
    torch.testing.assert_close(moved.A(x0.cuda()).cpu(), operator.A(x0), rtol=1e-4, atol=1e-4)
    if operator.linear:
        torch.testing.assert_close(moved.adjoint(y.cuda()).cpu(), operator.adjoint(y), rtol=1e-4, atol=1e-4)
    if "jpeg" not in name:  # it rounds, and a coefficient at the middle between two whole numbers may go either way
        step = moved.prox(y.cuda(), x0.cuda(), lam, method).cpu()
        torch.testing.assert_close(step, operator.prox(y, x0, lam, method), rtol=1e-3, atol=1e-3)
