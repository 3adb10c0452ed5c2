"""A diffusion model as a rectified flow, without training: both walk between the same signals and the same noise.

A latent of a rectified flow, (1 - s) z_0 + s eps, is one of a variance-preserving schedule times a number: at the level
whose ratio of noise to signal is s / (1 - s). What the network estimates there are z_0 and eps, and the flow's velocity
is eps - z_0: exact for the network as it is. A network that was trained as a flow weights the levels in another way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Denoiser, Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.schedule.ratios import level_of_ratio
from treg_exp.schedule.variance_preserving import VariancePreserving


@dataclass(frozen=True)
class FlowDenoiser:
    """A denoiser of a variance-preserving schedule, asked at the levels of a flow.

    Attributes:
        wrapped: that of the diffusion model.
        schedule: its levels.
    """

    wrapped: Denoiser
    schedule: VariancePreserving

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``. Above the noisiest level of the schedule z_t counts as one of that level."""
        alpha, sigma = float(level.alpha), float(level.sigma)
        last = self.schedule.alphas_cumprod[-1]
        most = math.sqrt((1 - last) / last)
        inner = level_of_ratio(self.schedule, min(most, sigma / alpha) if alpha else most)
        z_0 = self.wrapped.predict(z_t * (float(inner.sigma) / sigma), inner, text).z_0
        return Prediction(z_0, level.noise_in(z_t, z_0))


@dataclass(frozen=True)
class FlowOfDiffusion(DiffusersFolder):
    """A folder with a variance-preserving diffusion model, taken as a rectified flow.

    Solvers that are written for flows run on it. The fields are those of ``DiffusersFolder``, and:

    Attributes:
        shift: of the flow's levels towards high noise, see ``Flow``; > 0.
    """

    shift: float = 1.0

    @cached_property
    def diffusion(self) -> PriorInfo:
        """What the folder says.

        Raises:
            FieldError: it is no variance-preserving model.
        """
        info = self.family.read_info(self.folder, self)
        if not isinstance(info.schedule, VariancePreserving):
            kind = type(info.schedule).__name__
            raise FieldError("path", self.path, f"its schedule is {kind}; only diffusion models with a table of alphas "
                             "can be taken as a flow, and flows need not be")  # fmt: skip
        return info

    @cached_property
    def info(self) -> PriorInfo:
        """See ``PriorSpec``."""
        if not self.shift > 0:
            raise FieldError("shift", self.shift, "must be > 0")
        return replace(self.diffusion, schedule=Flow(shift=self.shift), kind="flow")

    def load(self, device: torch.device | str = "cpu") -> Prior:
        """See ``PriorSpec``."""
        self.check()
        prior = self.family.load(self.folder, self.diffusion, self, torch.device(device))
        schedule = self.diffusion.schedule
        assert isinstance(schedule, VariancePreserving)
        return replace(prior, info=self.info, denoiser=FlowDenoiser(prior.denoiser, schedule))
