"""Replays recordings of latent DAPS."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.parity.cases import Case, compat, operator_of, policy_of
from treg_exp.noise import ReplayNoise
from treg_exp.operators.base import Operator
from treg_exp.tasks.problems import InverseProblem

NOTES = frozenset({"fraction_of_clamped_gradient_entries"})


class Resized(Operator):
    """An operator on pictures that are resized bilinearly before, as the official decoder does."""

    elementwise = True

    def __init__(self, operator: Operator, side: int) -> None:
        self.of = operator
        super().__init__((3, side, side), operator.measurement_shape)

    def resized(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.of.signal_shape[1:], mode="bilinear", align_corners=False)

    def _A(self, x: Tensor) -> Tensor:
        return self.of.A(self.resized(x))


def replayed(case: Case) -> torch.Tensor:
    """The decoded last latent in [-1, 1], at the resolution of the operator."""
    told, arrays = case.told, case.arrays
    annealing, ode, mcmc = told["annealing_scheduler"], told["diffusion_scheduler"], told["mcmc_sampler"]
    for name, wanted in (("name", "edm"), ("timestep", annealing["timestep"])):
        assert annealing[name] == ode[name] == wanted, (annealing, ode)
    assert (ode["solver"], mcmc["prior_solver"]) == ("euler", "gaussian")
    solver = replace(
        compat("daps_compat"),
        steps=annealing["num_steps"],
        sigma_max=float(annealing["sigma_max"]),
        sigma_min=float(annealing["sigma_min"]),
        rho=float(annealing["timestep"].removeprefix("poly-")),
        ode_steps=ode["num_steps"],
        ode_sigma_min=float(ode["sigma_min"]),
        mcmc_steps=mcmc["num_steps"],
        algorithm=mcmc["mc_algo"],
        lr=float(mcmc["lr"]),
        lr_min_ratio=float(mcmc["lr_min_ratio"]),
        momentum=float(mcmc["momentum"]),
        tau=float(mcmc["tau"]),
    )
    records = {("start", 0, 0): arrays["initial_noise"]}
    for k in range(solver.steps):
        records["renoise", k, 0] = arrays["renoise_noise"][k][None]
        records |= {("mcmc", k, inner): row[None] for inner, row in enumerate(arrays["mcmc_noise"][k])}
        if "velocity_noise" in arrays:
            records["velocity", k, 0] = arrays["velocity_noise"][k][None]
    side, measured = told["decoder_resolution"], told["operator_resolution"]
    operator = operator_of(told["operator"], arrays, (3, measured, measured))
    operator = Resized(operator, side) if side != measured else operator
    policy = policy_of(told)
    text = policy.start(case.prior, [{"prompt": told["prompt"]}])
    problem = InverseProblem(case.tensor("measurement"), operator, told["measurement_noise_std"], 0.0)
    signal = solver.solve(problem, text, case.prior, policy, ReplayNoise(records)).signal
    return operator.resized(signal) if isinstance(operator, Resized) else signal
