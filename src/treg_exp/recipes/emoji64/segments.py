"""Where a student of few steps jumps to: the times of a sampler, and those of its teacher between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.small import training_scheduler
from treg_exp.schedule.levels import Level, Move
from treg_exp.schedule.variance_preserving import VariancePreserving


def prior_schedule() -> VariancePreserving:
    """The schedule and spacing that every prior of this recipe is exported with."""
    scheduler = training_scheduler()
    return VariancePreserving(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        final_alpha=float(scheduler.final_alpha_cumprod),
        spacing=scheduler.config["timestep_spacing"],
        steps_offset=scheduler.config["steps_offset"],
    )


@dataclass(frozen=True)
class Legs:
    """Two moves for each of B pictures: one step of the teacher, and from there to the end of the segment.

    Attributes:
        step: from the drawn level to the one before it in the teacher's grid.
        rest: from that level to the segment's end; where it is the end, a move that changes nothing.
    """

    step: Move
    rest: Move

    @property
    def jump(self) -> Move:
        """What the student does at once."""
        return Move(0, self.step.now, self.rest.next)


class Segments:
    """The steps of a sampler, each divided into steps of a teacher.

    A segment begins at a time that a sampler of ``segments`` steps visits and ends at the next one, the last at the
    clean end. The teacher's own times lie between. Times above the first are left out: no such sampler visits them.

    Args:
        schedule: with the spacing of the sampler.
        segments: steps of the student.
        teacher_steps: steps of the teacher over the whole schedule, with the same spacing.

    Attributes:
        times: of the teacher from the first that the student visits, highest first.
        ends: for each of them the time at which its segment ends, -1 at the clean end.

    Raises:
        FieldError: the teacher does not visit every time that the student does.
    """

    def __init__(self, schedule: VariancePreserving, segments: int, teacher_steps: int) -> None:
        if segments < 1:
            raise FieldError("segments", segments, "must be >= 1")
        if teacher_steps < segments or teacher_steps % segments:
            raise FieldError("teacher_steps", teacher_steps, f"must be a multiple of segments={segments}")
        visited, grid = schedule.timesteps(segments), schedule.timesteps(teacher_steps)
        if not set(visited) <= set(grid):
            raise FieldError(
                "teacher_steps", teacher_steps, f"with spacing {schedule.spacing} they leave out some of the {segments}"
            )
        self.schedule, self.segments, self.teacher_steps = schedule, segments, teacher_steps
        self.times = [t for t in grid if t <= visited[0]]
        self.ends = [max((end for end in visited if end < t), default=-1) for t in self.times]
        following = [*self.times[1:], -1]
        self._tables = [self._table(times) for times in (self.times, following, self.ends)]

    def legs(self, positions: Tensor) -> Legs:
        """Moves that begin at times of the teacher.

        Args:
            positions: (B,) int64 in `times`.
        """
        now, earlier, end = (_picked(table.to(positions.device), positions) for table in self._tables)
        return Legs(Move(0, now, earlier), Move(0, earlier, end))

    def teacher_moves(self) -> list[Move]:
        """Of a sampler that visits all the teacher's times."""
        levels = [self.schedule.level(t) for t in [*self.times, -1]]
        return [Move(k, now, following) for k, (now, following) in enumerate(pairwise(levels))]

    def _table(self, times: list[int]) -> Tensor:
        """(3, N): what the network is told, alpha and sigma."""
        levels = [self.schedule.level(t) for t in times]
        return torch.tensor([[level.t for level in levels], [x.alpha for x in levels], [x.sigma for x in levels]])


def _picked(table: Tensor, positions: Tensor) -> Level:
    t, alpha, sigma = table[:, positions]
    # At the clean end a network is told the lowest time that it knows.
    return Level(t.long().clamp(min=0), alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1))


def implied_signal(z_t: Tensor, z_end: Tensor, jump: Move) -> Tensor:
    """The z_0 for which a DDIM step from z_t arrives at z_end.

    Args:
        z_t: at the level where the jump begins.
        z_end: at the level where it ends, which has less noise.
        jump: from one to the other.
    """
    kept = jump.next.sigma / jump.now.sigma
    signal: Tensor = (z_end - kept * z_t) / (jump.next.alpha - kept * jump.now.alpha)
    return signal
