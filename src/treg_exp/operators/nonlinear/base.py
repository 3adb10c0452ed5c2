"""Forward operators without a matrix: A, the residual and the gradient of the data term, and what follows from them.

A proximal step is descent to a local minimum near its start. There is no adjoint and no pseudo-inverse: a solver
that needs one refuses the operator at its start, see ``Solver.check``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NoReturn

import torch
from torch import Tensor

from treg_exp.operators.base import Operator
from treg_exp.operators.methods import CG, Descent


class NonlinearOperatorError(ValueError):
    """A linear operation was asked of a non-linear operator, or a gradient of one that has none."""


class NonlinearOperator(Operator):
    """y = A(x), differentiable by autograd; a new one implements ``_A``.

    A closed form of ``_linearised`` saves what autograd keeps: every image that ``_A`` makes on its way.
    """

    linear: ClassVar[bool] = False

    @abstractmethod
    def _A(self, x: Tensor) -> Tensor:
        """A of a checked float32 batch (B, 3, H, W)."""

    def preview(self, y: Tensor) -> Tensor:
        """An image of y for pictures and starts: y where it is an image already, else grey; not an inverse."""
        if self.measurement_shape == self.signal_shape:
            return self._checked("y", y, self.measurement_shape).clamp(-1, 1)
        return y.new_zeros(len(y), *self.signal_shape)

    def measured(self) -> Tensor:
        """Ones: every entry counts."""
        return torch.ones(1, *self.measurement_shape, device=self._device())

    @property
    def norm_sq(self) -> float:
        """1: nominal, for lambda; the slope of a non-linear map depends on the image."""
        return 1.0

    def _data_term(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.differentiable:
            raise NonlinearOperatorError(
                f"gradient: {type(self).__name__} has none as configured (a step function); see its fields"
            )
        return super()._data_term(y, x)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            image = self._A(x)

        def pull_back(v: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(image, x, v)
            return pulled

        return image.detach(), pull_back

    def adjoint(self, y: Tensor) -> Tensor:
        """Does not exist."""
        self._refuse("adjoint")

    def _prox(self, y: Tensor, x0: Tensor, lam: float) -> Tensor:
        return self._prox_descent(y, x0, lam, Descent())

    def _prox_cg(self, y: Tensor, x0: Tensor, lam: float, method: CG) -> Tensor:
        self._refuse("conjugate gradients (prox: CG)")

    def pinv(self, y: Tensor) -> Tensor:
        """Does not exist."""
        self._refuse("pinv")

    def null_space(self, x: Tensor) -> Tensor:
        """Does not exist."""
        self._refuse("null_space")

    def _adjoint(self, y: Tensor) -> Tensor:
        self._refuse("adjoint")

    def _refuse(self, name: str) -> NoReturn:
        exist, able = "A alone exists", "solver=unconditional"
        if self.differentiable:
            exist, able = "A, gradient and prox by descent exist", f"{able}, solver=treg with prox Exact or Descent"
        raise NonlinearOperatorError(
            f"{name}: {type(self).__name__} is non-linear and has none; {exist}. Solvers that need no more can run it "
            f"({able})"
        )
