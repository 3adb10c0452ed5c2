"""Replays recordings of ReSample."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from tests.parity.cases import Case, compat, of_compvis, operator_of, policy_of
from treg_exp.noise import ReplayNoise
from treg_exp.numerics.adamw import AdamW
from treg_exp.solvers.resample import ReSample
from treg_exp.tasks.problems import InverseProblem

#: Results of the run rather than settings of it.
NOTES = frozenset({"iterations_used", "stage_per_consistency_step"})


def optimiser(told: Mapping[str, Any], base: AdamW) -> AdamW:
    """Of a stage, as recorded."""
    assert told["name"] == "AdamW", told["name"]
    plateau = base.plateau
    if rule := told.get("plateau_rule"):
        plateau = int(re.match(r"after (\d+) iterations", rule)[1])
    return replace(
        base, lr=told["lr"], betas=tuple(told["betas"]), eps=told["eps"], weight_decay=told["weight_decay"],
        iterations=told["max_iterations"], stop=told["stop_when_mse_below"], plateau=plateau,
    )  # fmt: skip


def consistency(update: Iterable[str]) -> dict[str, Any]:
    """When steps optimise, as the recorded update says it in words: a period, and a share of the steps."""
    words = " ".join(update)
    period, split = re.search(r"i % (\d+) == 0", words), re.search(r"split = N//(\d+)", words)
    if period is None or split is None:
        raise ValueError("update: must say when a step optimises, as in 'split = N//3' and 'i % 10 == 0'")
    share = 1 / int(split[1])
    return {"every": int(period[1]), "free": share, "latent_stage": share}


def noise_of(case: Case, solver: ReSample) -> ReplayNoise:
    """z_T; a draw per step, some more where the run travels ahead, then that of the resampling."""
    arrays, records = case.arrays, {("start", 0, 0): case.arrays["z_T"]}
    ddim, resample = iter(arrays.get("ddim_noise", ())), iter(arrays["resample_noise"])
    for k in range(solver.steps):
        left = solver.steps - 1 - k
        consistent = solver.is_consistent(left)
        if "ddim_noise" in arrays:
            for inner in range(1 + consistent * min(solver.travel, left)):
                records["ddim", k, inner] = next(ddim)[None]
        if consistent:
            records["resample", k, 0] = next(resample)[None]
    assert not [*ddim, *resample]
    return ReplayNoise(records)


def replayed(case: Case) -> torch.Tensor:
    """The decoded last latent in [-1, 1]."""
    told = case.told
    prior, steps = of_compvis(case.prior, told)
    operator = operator_of(told["operator"], case.arrays, (3, told["image_size"], told["image_size"]))
    base = compat("resample_compat")
    pixel, latent = told["pixel_optimizer"], told["latent_optimizer"]
    scale = float(re.match(r"([\d.]+) \* alpha_bar", told["dps_scale"])[1])
    solver = replace(
        base, steps=steps, eta=told["eta"], gamma=float(told["gamma"]), dps_scale=scale, **consistency(told["update"]),
        travel=told["time_travel_steps"], pixel=optimiser(pixel, base.pixel), latent=optimiser(latent, base.latent),
    )  # fmt: skip
    stated = told.get("consistency_step_indices")
    found = [left for left in reversed(range(steps)) if solver.is_consistent(left)]
    if stated is not None and stated != found:
        raise ValueError(f"consistency_step_indices {stated}: ours are {found}, by num_inference_steps")
    policy = policy_of(told)
    text = policy.start(prior, [{"prompt": told["prompt"]}])
    problem = InverseProblem(case.tensor("measurement"), operator, told["measurement_noise_std"], 0.0)
    return solver.solve(problem, text, prior, policy, noise_of(case, solver)).signal
