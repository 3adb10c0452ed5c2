"""Inverse problems whose operator is a physics of the deepinv library."""

from __future__ import annotations

from functools import partial

from treg_exp.operators.linear.deepinv_adapter import Physics, check_physics, deepinv_operator
from treg_exp.operators.noise.base import NoiseModel
from treg_exp.tasks.inverse import InverseTask


class DeepinvTask(InverseTask):
    """An inverse task that takes a linear physics in place of an operator."""

    def __init__(
        self, physics: Physics, noise: NoiseModel, name: str = "deepinv", tau: float = 0.1, seed: int = 0
    ) -> None:
        """Checks the physics and hands the rest on.

        Args:
            physics: a deepinv ``LinearPhysics``: an instance, or its class or a partial of it, which is called with
                ``img_size=signal_shape`` and a seeded ``rng`` if it takes them.
            noise: noise model of the measurement; that of the physics is dropped.
            name: short name for tables and folders.
            tau: see ``InverseTask``.
            seed: seed of the measurement: noise and random parameters of the physics, which all samples share.

        Raises:
            FieldError: ``physics`` is something else.
        """
        check_physics(physics)
        super().__init__(partial(deepinv_operator, physics=physics, physics_seed=seed), noise, name, tau, seed)
