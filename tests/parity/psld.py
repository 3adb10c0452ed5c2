"""Replays recordings of PSLD, GML-DPS and LDPS."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from tests.parity.cases import Case, compat, of_compvis, operator_of, policy_of
from treg_exp.noise import ReplayNoise
from treg_exp.tasks.problems import InverseProblem

NOTES = frozenset[str]()
#: What the description of the operator says of its transpose.
BACK = {r"transpose[^;]*(identity|nearest)": "replicate", r"transpose[^;]*adjoint": "adjoint"}


def replayed(case: Case) -> torch.Tensor:
    """The decoded last latent in [-1, 1]."""
    told = case.told
    prior, steps = of_compvis(case.prior, told)
    operator = operator_of(told["operator"], case.arrays, (3, told["image_size"], told["image_size"]))
    words = str(told["operator"])
    back = next((name for pattern, name in BACK.items() if re.search(pattern, words, re.IGNORECASE)), "adjoint")
    base = compat("psld")
    gluing = base.gluing if "GML" not in told.get("method", "") else "autoencoder"
    solver = replace(
        base, steps=steps, eta=told["eta"], gamma=told["gamma"], omega=told["omega"], gluing=gluing, back=back
    )
    records = {("start", 0, 0): case.arrays["z_T"]}
    records |= {("ddim", k, 0): row[None] for k, row in enumerate(case.arrays.get("ddim_noise", ()))}
    policy = policy_of(told)
    text = policy.start(prior, [{"prompt": told["prompt"]}])
    problem = InverseProblem(case.tensor("measurement"), operator, told["measurement_noise_std"], 0.0)
    return solver.solve(problem, text, prior, policy, ReplayNoise(records)).signal
