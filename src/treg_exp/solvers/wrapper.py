"""What solvers have in common that run another one."""

from __future__ import annotations

from collections.abc import Sequence

from treg_exp.operators.base import Operator
from treg_exp.priors.info import PriorInfo
from treg_exp.schedule.levels import Move
from treg_exp.solvers.base import Solver
from treg_exp.text.policy import TextPolicy

SAME = (
    "steps", "problems", "roles", "uses_text", "reads_prompt", "uses_noise", "keeps_masked", "needs_linear",
    "needs_gradient", "tells_next", "projects",
)  # fmt: skip


class Wrapper(Solver):
    """Runs another solver. What that one can solve and needs is what this one can and needs, unless it says more.

    Attributes:
        of: the other solver.
    """

    of: Solver

    def __post_init__(self) -> None:
        for name in SAME:
            object.__setattr__(self, name, getattr(self.of, name))

    @property
    def title(self) -> str:
        """See :class:`Solver`."""
        return f"{type(self).__name__} of {self.of.title}"

    def check_policy(self, policy: TextPolicy) -> None:
        """See :class:`Solver`."""
        self.of.check_policy(policy)

    def cautions(self, policy: TextPolicy) -> Sequence[str]:
        """See :class:`Solver`."""
        return self.of.cautions(policy)

    def check_operator(self, operator: Operator) -> None:
        """See :class:`Solver`."""
        self.of.check_operator(operator)

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """See :class:`Solver`; those of one run of the other solver."""
        return self.of.moves(info, signal_shape)
