"""Any linear physics of the deepinv library as an operator.

Only ``A`` and ``A_adjoint`` of the physics are used. Its noise model is dropped (noise has one stream per
sample here), and its ``prox_l2`` and ``A_dagger`` are not called, because they change the settings of the
object: proximal step and pseudo-inverse are the per-sample iterations of ``numerics/cg.py``.

A physics cannot be pickled (it holds local functions). A task that has its class or a partial can, and builds its
physics again where it is used.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor, nn

from treg_exp.errors import FieldError
from treg_exp.noise import generator, stream_seed
from treg_exp.numerics.cg import dot
from treg_exp.operators.linear.base import LinearOperator

Physics = nn.Module | Callable[..., nn.Module]
_NOT_THE_MAP = {"training", "max_iter", "tol", "solver", "implicit_backward_solver"}


class DeepinvOperator(LinearOperator):
    """Adapter over a deepinv ``LinearPhysics`` with real measurements.

    Attributes:
        physics_hash: identifies classes, settings and buffers of the physics.
        exact_iterations: upper limit of CGLS iterations for ``Exact()`` and ``pinv``; each is one A and one
            adjoint.
        exact_tolerance: fall of the gradient norm at which they stop.
    """

    def __init__(
        self,
        physics: nn.Module,
        signal_shape: Sequence[int],
        exact_iterations: int = 500,
        exact_tolerance: float = 1e-6,
    ) -> None:
        """Copies the physics and checks that it maps signals of ``signal_shape`` linearly to real tensors."""
        check_physics(physics)
        self._physics: Any = copy.deepcopy(physics).requires_grad_(False)
        self._physics.noise_model = nn.Identity()
        super().__init__(signal_shape, _measurement_shape(self._physics, signal_shape))
        self.physics_hash = _physics_hash(self._physics)
        self.exact_iterations, self.exact_tolerance = exact_iterations, exact_tolerance
        self._check_adjoint()

    def _A(self, x: Tensor) -> Tensor:
        y: Tensor = self._physics.A(x)
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        x: Tensor = self._physics.A_adjoint(y)
        return x

    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device, with its own copy of the physics."""
        moved = super().to(device)
        moved._physics = copy.deepcopy(self._physics).to(device)
        return moved

    def _device(self) -> torch.device:
        return next(self._physics.buffers(), torch.empty(0)).device

    def _check_adjoint(self) -> None:
        stream = generator("adjoint check")
        x = torch.randn(1, *self.signal_shape, generator=stream).to(self._device())
        y = torch.randn(1, *self.measurement_shape, generator=stream).to(self._device())
        image, back = self.A(x), self.adjoint(y)
        error = float((dot(image, y) - dot(x, back)).abs())
        scale = float((dot(image, image) * dot(y, y)).sqrt())
        if back.shape != x.shape or not error <= 1e-4 * scale:
            raise FieldError("physics", type(self._physics).__name__, "A_adjoint is not the adjoint of A")


def check_physics(physics: Physics) -> None:
    """FieldError unless ``physics`` is a deepinv ``LinearPhysics``, its class, or a partial of its class."""
    from deepinv.physics import LinearPhysics

    kind = getattr(physics, "func", physics)  # of a partial
    kind = kind if isinstance(kind, type) else type(kind)
    if not issubclass(kind, LinearPhysics):
        raise FieldError("physics", kind.__name__, "must be a deepinv LinearPhysics")


def deepinv_operator(physics: Physics, signal_shape: Sequence[int], physics_seed: int = 0) -> DeepinvOperator:
    """Builds the physics for signals of ``signal_shape`` if it is not an instance yet, and wraps it."""
    if isinstance(physics, nn.Module):
        return DeepinvOperator(physics, signal_shape)
    accepted, fixed = signature(physics).parameters, getattr(physics, "keywords", {})
    offered = {"img_size": tuple(signal_shape), "rng": generator(physics_seed, "physics")}
    given = {key: value for key, value in offered.items() if key in accepted and key not in fixed}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(physics_seed, "physics"))
        return DeepinvOperator(physics(**given), signal_shape)


def _measurement_shape(physics: Any, signal_shape: Sequence[int]) -> tuple[int, ...]:
    device = next(physics.buffers(), torch.empty(0)).device
    name = type(physics).__name__
    try:
        y = physics.A(torch.zeros(1, *signal_shape, device=device))
    except Exception as error:
        shape = tuple(signal_shape)
        raise FieldError("physics", name, f"fails for a signal of shape {shape}: {error}") from error
    if not isinstance(y, Tensor) or not y.is_floating_point():
        raise FieldError("physics", name, "measurements must be one real tensor")
    return tuple(y.shape[1:])


def _physics_hash(physics: nn.Module) -> str:
    """Hash of the classes, plain settings and tensors of a physics and its parts; not of random states."""
    digest = hashlib.sha256()
    for path, module in physics.named_modules():
        digest.update(f"\x1f{path}={type(module).__name__}".encode())
        for name, value in sorted(vars(module).items()):
            plain = isinstance(value, (bool, int, float, str, list, tuple))
            if plain and not name.startswith("_") and name not in _NOT_THE_MAP:
                digest.update(f"\x1f{name}={value!r}".encode())
    for name, value in sorted([*physics.named_buffers(), *physics.named_parameters()]):
        if not name.endswith("random_state"):
            digest.update(f"\x1f{name}{tuple(value.shape)}".encode())
            values = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:12]
