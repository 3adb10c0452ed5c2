"""Pieces that cost next to nothing: what a run of very many samples takes is then the framework's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from treg_exp.data.sample import Sample
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.solvers.base import Restoration, Solver, ignore

SIDE = 8


class ManySamples:
    """Random pictures that are drawn when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._ids = [f"sample_{i:07d}" for i in range(count)]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def __len__(self) -> int:
        return self.count

    def captions(self, index: int) -> Mapping[str, str]:
        return {"caption": f"picture number {index}"}

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        return Sample(self._ids[index], torch.rand(3, SIDE, SIDE, generator=generator) * 2 - 1)


class NoDenoiser:
    def predict(self, z_t: Any, level: Any, text: Any = None) -> Any:
        return level.predict(0 * z_t, z_t, "sample")


@dataclass(frozen=True)
class NoPrior:
    name = "none"

    @property
    def info(self) -> PriorInfo:
        return PriorInfo("image", (3, SIDE, SIDE), 3, 1, 1, Flow(), "sample")

    def check(self) -> None:
        pass

    def number_format(self, device: Any) -> str:
        return "float32"

    def load(self, device: Any = "cpu") -> Prior:
        return Prior(self.info, IdentityCodec(), NoDenoiser())


@dataclass(frozen=True)
class Adjoint(Solver):
    """The adjoint of the measurement."""

    steps: int = 1

    def solve(self, problem: Any, text: Any, prior: Any, policy: Any, noise: Any, on_step: Any = ignore) -> Restoration:
        return Restoration(problem.operator.adjoint(problem.y))
