"""Replays recordings of LATINO."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from tests.parity.cases import Case, compat, operator_of, policy_of
from treg_exp.noise import ReplayNoise
from treg_exp.operators.methods import CG
from treg_exp.signals.ranges import to_unit
from treg_exp.solvers.latino import Delta
from treg_exp.tasks.problems import InverseProblem

NOTES = frozenset({"downscaling_factor", "prox_gamma_check_is_relative", "max_abs_diff_when_prox_is_solved_exactly"})
NUMBER = r"([\d.]+(?:e-?\d+)?)"
VALUE = NUMBER + r"( df)?( / sigma_y_normalised)?"


def delta_of(words: str) -> Delta:
    """Of `t > 300: delta = 0.02 df / sigma_y_normalised; otherwise 0.002 df / sigma_y_normalised`."""
    found = re.fullmatch(rf"t > {NUMBER}: delta = {VALUE}; otherwise {VALUE}", words)
    if not found or found.groups()[2:4] != found.groups()[5:7]:
        raise ValueError(f"delta_rule {words!r}: not understood")
    switch, early, per_residual, per_sigma, late, *_ = found.groups()
    unit = "one" if not per_residual else "residual_per_sigma" if per_sigma else "residual"
    return Delta(float(early), float(late), float(switch), unit)


def prox_of(told: dict, base: CG) -> CG:
    """Conjugate gradients with a relative stop."""
    tolerance = re.match(r"squared residual below \(([\de.-]+)\)\^2 times", told["stop"])[1]
    return replace(base, iterations=told["max_iterations"], tolerance=float(tolerance))


def replayed(case: Case) -> torch.Tensor:
    """The decoded last latent in [0, 1], clamped."""
    told, arrays = case.told, case.arrays
    scheduler, sigma = told["scheduler"], told["sigma_y_normalised"]
    assert (scheduler["name"], scheduler["clip_sample"]) == ("LCMScheduler", False)
    schedule = replace(case.prior.info.schedule, lcm_steps=scheduler["original_inference_steps"])
    prior = replace(case.prior, info=replace(case.prior.info, schedule=schedule))
    base = compat("latino_compat")
    solver = replace(
        base,
        steps=told["num_inference_steps"],
        delta=delta_of(told["delta_rule"]),
        prox=prox_of(told["prox"], base.prox),
        timestep_scaling=scheduler["timestep_scaling"],
        sigma_data=scheduler["sigma_data"],
        residual_noise=told["sigma_y"] / sigma,
    )
    records = {("start", 0, 0): arrays["init_noise"]}
    records |= {("residual", k, 0): row[None] for k, row in enumerate(arrays["residual_noise"])}
    records |= {("renoise", k, 0): row[None] for k, row in enumerate(arrays["scheduler_noise"])}
    operator = operator_of(told["operator"], arrays, (3, told["image_size"], told["image_size"]))
    policy = policy_of(told)
    text = policy.start(prior, [{"prompt": told["prompt"]}])
    problem = InverseProblem(case.tensor("measurement"), operator, sigma, 0.0)
    return to_unit(solver.solve(problem, text, prior, policy, ReplayNoise(records)).signal)
