"""Muon for hidden matrices and kernels, Adam for everything else, as one optimiser.

torch has a Muon of its own since 2.9. It takes matrices alone, no kernels of convolutions, of which these networks
mostly consist, and it iterates in bfloat16, which loses the small singular values (see `orthogonalised`). On matrices
the two agree up to that rounding (`tests/training/test_muon.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from treg_exp.errors import FieldError
from treg_exp.numerics.precision import full_precision
from treg_exp.training.sharing import single_threaded_pool

_MOMENTUM = 0.95
_BETAS = (0.9, 0.99)


class MuonAdam(torch.optim.Optimizer):
    """Orthogonalised momentum where a parameter is a matrix, Adam elsewhere (Jordan et al., 2024).

    In the first thousand steps, which is all that a small CPU can afford, it needs several times fewer steps
    than Adam on the autoencoder.

    Args:
        params: parameters, or groups of them. Those of a group with ``orthogonal: True`` must have at least two axes,
            of which the first is the output; biases, gains, embeddings, first and last layers belong to the others.
        rate: learning rate of Adam.
        matrix_rate: of Muon, whose update has unit spectral norm; None leaves all parameters to Adam.
        weight_decay: decoupled, on parameters with at least two axes.
        workers: threads to share the update between; 1 for the calling one.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]],
        rate: float,
        matrix_rate: float | None = None,
        weight_decay: float = 0.01,
        workers: int = 1,
    ) -> None:
        for name, value in (("rate", rate), ("matrix_rate", matrix_rate)):
            if value is not None and not value >= 0:
                raise FieldError(name, value, "must be >= 0")
        super().__init__(params, {"lr": rate, "weight_decay": weight_decay, "orthogonal": False})  # type: ignore[arg-type]
        self._pool = single_threaded_pool(workers) if workers > 1 else None
        for group in self.param_groups:
            group["orthogonal"] = group["orthogonal"] and matrix_rate is not None
            group["lr"] = matrix_rate if group["orthogonal"] else rate

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        jobs = [job for group in self.param_groups for job in _jobs(group)]
        if not jobs:
            return loss
        with full_precision(jobs[0][0][0].device):  # a training step may run under autocast, and its update with it
            list(map(self._update, jobs) if self._pool is None else self._pool.map(self._update, jobs))
        return loss

    @torch.no_grad()
    def _update(self, job: tuple[list[Tensor], dict[str, Any]]) -> None:
        parameters, group = job
        matrices = [p for p in parameters if p.ndim > 1]
        if matrices:
            torch._foreach_mul_(matrices, 1.0 - group["lr"] * group["weight_decay"])
        update = self._orthogonal_updates if group["orthogonal"] else self._adam_updates
        torch._foreach_add_(parameters, update(parameters), alpha=-group["lr"])

    def _orthogonal_updates(self, parameters: list[Tensor]) -> list[Tensor]:
        """Of parameters of one shape."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_mul_(momenta, _MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=_MOMENTUM)
        directions = orthogonalised(torch.stack([step.flatten(1) for step in ahead]))
        tall = max(1.0, directions.shape[1] / directions.shape[2])
        return [d.view_as(p) for d, p in zip(directions.mul_(math.sqrt(tall)), parameters, strict=True)]

    def _adam_updates(self, parameters: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if not self.state[p]:
                self.state[p].update(
                    step=torch.zeros(()), mean=torch.zeros_like(p), square=torch.zeros_like(p)
                )  # fmt: skip
            self.state[p]["step"] += 1
        means, squares = ([self.state[p][name] for p in parameters] for name in ("mean", "square"))
        counts = [float(self.state[p]["step"]) for p in parameters]
        torch._foreach_lerp_(means, gradients, 1.0 - _BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1.0 - _BETAS[1])
        deviations = torch._foreach_div(squares, [1.0 - _BETAS[1] ** count for count in counts])
        torch._foreach_sqrt_(deviations)
        torch._foreach_add_(deviations, 1e-8)
        updates = torch._foreach_div(means, [1.0 - _BETAS[0] ** count for count in counts])
        torch._foreach_div_(updates, deviations)
        return list(updates)


def _jobs(group: dict[str, Any]) -> list[tuple[list[Tensor], dict[str, Any]]]:
    """Parameters of a group that are updated together.

    On a GPU all that can be: alone, each of 150 small matrices takes tens of launches that leave it idle. On a CPU
    each parameter is a job of its own, which threads share.
    """
    together: dict[Any, list[Tensor]] = {}
    for number, p in enumerate(group["params"]):
        if p.grad is not None:
            key = number if p.device.type == "cpu" else p.shape if group["orthogonal"] else None
            together.setdefault(key, []).append(p)
    return [(parameters, group) for parameters in together.values()]


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix with the same singular vectors and singular values near 1, by a Newton-Schulz iteration.

    Args:
        matrix: (..., rows, columns).
        iterations: five bring all but the tiniest singular values to between 0.7 and 1.2.

    Returns:
        (..., rows, columns).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide: Tensor = matrix.mT if tall else matrix
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    # Each step multiplies by a polynomial of the Gram matrix, and polynomials of one matrix commute. So the small
    # square matrices are iterated, and the wide one is multiplied once: a third of the cost on 256 x 2304. All in
    # float32: in bfloat16 the products of the Gram matrix lose the small singular values (44 % error at 1e-2).
    gram = wide @ wide.mT
    total = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    for left in reversed(range(iterations)):
        factor = b * gram + c * gram @ gram
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        total = factor @ total
        if left:
            gram = factor @ (factor @ gram)
    wide = total @ wide
    return (wide.mT if tall else wide).contiguous()
