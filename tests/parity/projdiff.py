"""Replays recordings of ProjDiff, on the Gaussian prior that they were made with."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tests.parity.cases import Case, Strided, compat, operator_of, strided
from treg_exp.noise import ReplayNoise
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.operators.spectrum import Spectrum
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.schedule.variance_preserving import VariancePreserving
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy

#: Words that describe what `update` says and what is built here, and a count of the run.
NOTES = frozenset({"iterations_with_noise_branch_early", "toy_denoiser", "projection"})


@dataclass(frozen=True)
class GaussianDenoiser:
    """The noise estimate of the prior N(mean, std^2)."""

    mean: Tensor
    std: Tensor

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        variance = level.alpha**2 * self.std**2 + level.sigma**2
        return level.predict(level.sigma * (z_t - level.alpha * self.mean) / variance, z_t, "epsilon")


class OfficialDeblurring(LinearOperator):
    """U diag(s) V^T as recorded: V per channel, permuted, interleaved over channels; s repeated in whole blocks."""

    def __init__(self, arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
        self.U, self.V = (torch.from_numpy(arrays[name]) for name in ("U_small", "V_small"))
        self.order = torch.from_numpy(arrays["permutation"])
        singular = torch.from_numpy(arrays["singulars_small"])
        products = (singular[:, None] * singular[None, :]).flatten()[self.order]
        super().__init__(shape, (int(np.prod(shape)),))
        self.s = products.repeat(shape[0])

    def rotated(self, x: Tensor, basis: Tensor) -> Tensor:
        """Flat coordinates (B, C n n) of pictures."""
        modes = (basis.mT @ x @ basis).flatten(2)[..., self.order]
        return modes.mT.flatten(1)

    def rotated_back(self, v: Tensor, basis: Tensor) -> Tensor:
        modes = v.view(len(v), -1, self.signal_shape[0]).mT
        placed = torch.empty_like(modes)
        placed[..., self.order] = modes
        return basis @ placed.view(len(v), *self.signal_shape) @ basis.mT

    def _A(self, x: Tensor) -> Tensor:
        return self.rotated_back(self.s * self.rotated(x, self.V), self.U).flatten(1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.rotated_back(self.s * self._modes(y), self.V)

    def _modes(self, y: Tensor) -> Tensor:
        return self.rotated(y.view(-1, *self.signal_shape), self.U)

    def spectrum(self) -> Spectrum:
        shape = self.signal_shape
        inverse = torch.where(self.s > 0, 1 / self.s.clamp(min=1e-12), 0.0)
        return Spectrum(
            self.s.view(1, *shape),
            lambda x: self.rotated(x, self.V).view(-1, *shape),
            lambda v: self.rotated_back(v.flatten(1), self.V),
            lambda y: (inverse * self._modes(y)).view(-1, *shape),
        )


def prior_of(case: Case) -> Prior:
    """The toy denoiser on the schedule that the case describes in words."""
    pattern = r"linear betas ([\d.e-]+) to ([\d.e-]+), (\d+) steps"
    first, last, count = re.match(pattern, case.told["schedule"]).groups()
    betas = torch.from_numpy(np.linspace(float(first), float(last), int(count))).float()
    table = (1 - betas).cumprod(0).tolist()
    side = case.told["image_size"]
    schedule = VariancePreserving(table, table[0], steps_offset=0)
    info = PriorInfo("image", (3, side, side), 3, 1, 1, schedule, "epsilon")
    return Prior(info, IdentityCodec(), GaussianDenoiser(case.tensor("prior_mean"), case.tensor("prior_std")))


def noise_of(case: Case, solver: ProjDiff, schedule: Strided) -> ReplayNoise:
    """Start, start of x_obs, then x_t and x_obs of every turn that drew them."""
    arrays = case.arrays
    records = {("start", 0, 0): arrays["init_noise"]}
    if "obs_init_noise" in arrays:
        records["start x_obs", 0, 0] = arrays["obs_init_noise"]
    turns = [(k, n) for k in range(solver.steps) for n in range(solver.repeats)]
    x_t = list(arrays["xt_noise"])
    if "xt_noise_counts" in arrays:  # only entries of early directions were drawn, in the order of the coordinates
        flat, x_t = arrays["xt_noise"], []
        share, levels = early_shares(case), [move.now.alpha**2 for move in schedule.moves(solver.steps)]
        for (k, _), count in zip(turns, arrays["xt_noise_counts"], strict=True):
            row = np.zeros(share.shape, dtype=np.float32)
            early = share >= np.float32(levels[k])
            assert early.sum() == count
            row[early], flat = flat[:count], flat[count:]
            x_t.append(row.reshape(arrays["init_noise"].shape[1:]))
    records |= {("x_t", k, n): row[None] for (k, n), row in zip(turns, x_t, strict=False)}
    records |= {("x_obs", k, n): row[None] for (k, n), row in zip(turns, arrays.get("xobs_noise", ()), strict=False)}
    return ReplayNoise(records)


def early_shares(case: Case) -> np.ndarray:
    """alpha_bar of x_obs, per flat coordinate."""
    s = OfficialDeblurring(case.arrays, (3, case.told["image_size"], case.told["image_size"])).s.numpy()
    return np.where(s > 0, 1 / (1 + (case.told["sigma_0"] / np.maximum(s, 1e-12)) ** 2), 1.0)


def replayed(case: Case) -> torch.Tensor:
    """The last estimate."""
    told = case.told
    prior, schedule = strided(prior_of(case), told["num_inference_steps"])
    if "singulars_small" in case.arrays:
        assert told["operator"], "described in words"
        operator = OfficialDeblurring(case.arrays, prior.info.signal_shape)
    else:
        operator = operator_of(told["operator"], case.arrays, prior.info.signal_shape)
    spectral = "singulars_small" in case.arrays
    words = told["equivalent_noise_level"]
    form = "spectral" if spectral else "exact" if words.startswith("none") else "uniform"
    solver = replace(
        compat("projdiff_hdr" if isinstance(operator, HighDynamicRange) else "projdiff"),
        form=form, steps=schedule.all_steps, repeats=told["repeats_per_step_N"],
        step_size=told["step_size"], momentum=told["momentum"],
    )  # fmt: skip
    if (stated := told.get("iterations", solver.steps * solver.repeats)) != solver.steps * solver.repeats:
        raise ValueError(f"iterations {stated}: {solver.steps} timesteps with {solver.repeats} repeats each")
    policy = TextPolicy()
    text = policy.start(prior, [{"prompt": ""}])
    problem = InverseProblem(case.tensor("measurement"), operator, told["sigma_0"], 0.0)
    return solver.solve(problem, text, prior, policy, noise_of(case, solver, schedule)).signal
