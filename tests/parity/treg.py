"""Replays TReg's recordings."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.parity.cases import Case, Settings, compat, operator_of, strided
from treg_exp.noise import ReplayNoise
from treg_exp.signals.ranges import to_unit
from treg_exp.solvers.treg import TReg
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

NOTES = frozenset({"solver", "noise_order"})


def solver_of(told: Settings) -> TReg:
    """conf/solver/treg_compat.yaml with what the recording says."""
    released = compat("treg_compat")
    prox = replace(
        released.prox,
        iterations=told.get("cg_iterations", released.prox.iterations),
        tolerance=told.get("cg_tolerance", released.prox.tolerance),
    )
    off_window = "dps" if told.get("off_gamma_dps") else "ddim"
    lam = told.get("lam", released.lam)
    return replace(released, steps=told["steps"], lam=lam, prox=prox, off_window=off_window)


def policy_of(told: Settings) -> TextPolicy:
    """Guidance and null text."""
    null, lr, iterations = told.get("null_prompt", ""), told.get("null_lr"), told.get("null_iterations")
    moves = told.get("adaptive_negation")
    null_text = AdaptiveNegation(null, lr=lr, iterations=iterations) if moves else FixedNullText(null)
    return TextPolicy(ConstantGuidance(told["guidance"]), null_text)


def noise_of(case: Case, solver: TReg) -> ReplayNoise:
    """The recorded order: z_T, then on every data step the encoder's noise and the renoising noise."""
    noise, records = case.arrays["noise"], {("start", 0, 0): case.arrays["z_T"]}
    data_steps = [k for k in range(solver.steps) if solver.data_steps.contains(k, solver.steps)]
    for position, k in enumerate(data_steps):
        records["encode", k, 0] = noise[2 * position][None]
        records["renoise", k, 0] = noise[2 * position + 1][None]
    assert len(noise) == 2 * len(data_steps)
    return ReplayNoise(records)


def replayed(case: Case) -> torch.Tensor:
    """The image in [0, 1]."""
    told, (expected, stride) = case.told, case.image
    shape = (3, *(side * stride for side in expected.shape[-2:]))
    solver, policy = solver_of(told), policy_of(told)
    operator = operator_of(told["operator"], case.arrays, shape)
    problem = InverseProblem(case.tensor("measurement"), operator, sigma=0.01, lam=solver.lam)
    prior, _ = strided(case.prior, solver.steps)
    text = policy.start(prior, [{"prompt": told["prompt"]}])
    return to_unit(solver.solve(problem, text, prior, policy, noise_of(case, solver)).signal)
