"""What every solver in conf/solver has to fulfil, on every kind of prior; a new YAML enters by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from tests.conftest import ROOT
from tests.priors.backbones import write_backbone
from tests.priors.folders import ddim, write_pixel, write_sd3
from tests.test_config import composed
from tests.tiny import LinearFeatures, with_image_text
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import Restoration, Solver
from treg_exp.solvers.best_of import BestOf
from treg_exp.solvers.daps import LatentDAPS
from treg_exp.solvers.flair import FLAIR
from treg_exp.solvers.flowdps import FlowDPS
from treg_exp.solvers.inversion import Inversion
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.latent_map import LatentMAP
from treg_exp.solvers.latino import Latino
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.resample import ReSample
from treg_exp.solvers.stsl import STSL
from treg_exp.solvers.treg import TReg
from treg_exp.tasks.problems import EditProblem, InverseProblem, Problem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.match.image_text import ImageTextMatch
from treg_exp.text.null_text.concepts import NegatedConcepts
from treg_exp.text.null_text.image_space import ImageSpaceNegation
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_ascent import PromptAscent
from treg_exp.text.prompt_tuning import PromptTuning

NAMES = sorted(p.stem for p in (ROOT / "conf" / "solver").glob("*.yaml"))
SLOTS = {
    slot: sorted(p.stem for p in (ROOT / "conf" / slot).glob("*.yaml"))
    for slot in ("guidance", "null_text", "prompt_rule", "text_match")
}
PRIORS = ("eps", "v", "flow", "pixel")
IDS = ["apple", "bear", "crab"]
PROMPTS = ["a red apple", "a bear", "a crab"]
STEPS, FEW, SIDE = 7, 3, 64
POLICY = TextPolicy(ConstantGuidance(3.0), AdaptiveNegation())
#: A flow has no table of alphas, a prior of pixels no encoder; some solvers take no latents, and some only a flow.
FIELDS_OF_PRIORS = ("alpha_shift", "score.open_clip", "latent", "prior")
NEED_TEXT = (ImageSpaceNegation, NegatedConcepts, ImageTextMatch, PromptTuning, PromptAscent)


def loaded(folder: Path, width: int | None) -> Prior:
    """The prior of a folder in float32, with a linear stand-in for CLIP of its text's width."""
    prior = DiffusersFolder(path=str(folder), precision="fp32").load()
    if width is None:
        return prior
    matrix = np.random.default_rng(0).standard_normal((3 * 8 * 8, width)).astype(np.float32)
    return with_image_text(prior, LinearFeatures(matrix))


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory, tiny_prior: Prior) -> dict[str, Prior]:
    folder = tmp_path_factory.mktemp("priors")
    made = {"eps": tiny_prior, "v": loaded(write_backbone("sd21", folder / "v"), 32)}
    flow = DiffusersFolder(path=str(write_sd3(folder / "flow")), precision="fp32")
    made["flow"] = loaded(folder / "flow", next(s.width for s in flow.info.text_layout.spans if s.contrastive))
    # An untrained estimate of the noise would be a picture of amplitude 60 here; that of v is as large as a picture.
    made["pixel"] = loaded(write_pixel(folder / "pixel", scheduler=ddim(prediction_type="v_prediction")), None)
    return made


@pytest.fixture(params=PRIORS)
def prior(request: pytest.FixtureRequest, priors: dict[str, Prior]) -> Prior:
    return priors[request.param]


@pytest.fixture(params=NAMES)
def solver(request: pytest.FixtureRequest) -> Solver:
    return shortened(instantiate(composed(f"solver={request.param}").solver, _convert_="all"))


@pytest.fixture
def home(solver: Solver, priors: dict[str, Prior]) -> Prior:
    """A prior that the solver takes."""
    return next(
        prior for prior in priors.values() if refusal(solver, prior, problem_of(solver, prior, "linear")) is None
    )


def shortened(solver: Solver, steps: int = STEPS) -> Solver:
    """The same with fewer steps; of one that runs another solver, in each of two tries.

    Untrained networks amplify rounding errors with every pass through encoder or gradient, and so does a chain that
    does not converge: solvers with many of these take few steps, and small ones.
    """
    if isinstance(solver, BestOf):
        return replace(solver, of=shortened(solver.of, steps), candidates=2)
    if isinstance(solver, LatentMAP):
        return replace(solver, adam=replace(solver.adam, iterations=FEW, lr=0.1), weight=0.15)  # few steps move little
    if isinstance(solver, ReSample):
        few = {name: replace(getattr(solver, name), iterations=3) for name in ("pixel", "latent")}
        return replace(solver, steps=FEW, every=2, travel=2, **few)
    if isinstance(solver, FLAIR):  # its fixed step size overshoots in the decoder of an untrained prior
        return replace(solver, steps=FEW, data_lr=1e-6)
    if isinstance(solver, FlowDPS):
        return replace(solver, steps=FEW)
    if isinstance(solver, LatentDAPS):
        return replace(solver, steps=FEW, mcmc_steps=2, tau=0.5)
    if isinstance(solver, Latino):
        return replace(solver, steps=2, rounds=min(1, solver.rounds), round_steps=2)
    if isinstance(solver, LatentDPS | STSL):
        return replace(solver, steps=FEW)
    if isinstance(solver, ProjDiff):
        return replace(solver, steps=2)
    return replace(solver, steps=steps) if solver.steps else solver


def shape_of(prior: Prior) -> tuple[int, ...]:
    """The native shape of a prior's signals, with at most `SIDE` pixels a side."""
    channels, *sides = prior.info.signal_shape
    return (channels, *(min(side, SIDE) for side in sides))


def operator_of(kind: str, prior: Prior) -> Operator:
    """A linear or a non-linear operator for small signals."""
    shape = shape_of(prior)
    return BicubicDownsampling(factor=8, signal_shape=shape) if kind == "linear" else HighDynamicRange(2.0, shape)


def refusal(solver: Solver, prior: Prior, problem: Problem) -> str | None:
    """The field that a solver names where it refuses a problem, None where it takes it."""
    try:
        solver.check(problem, prior.info)
    except FieldError as error:
        return error.field
    return None


def problem_of(solver: Solver, prior: Prior, kind: str, neighbours: float = 1.0, count: int = 3) -> Problem:
    """A problem of the kind that the solver solves; all samples but the first are multiplied by ``neighbours``."""
    x = torch.rand(count, *shape_of(prior), generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[1:] *= neighbours
    if InverseProblem not in solver.problems:
        return EditProblem(x)
    operator = operator_of(kind, prior)
    return InverseProblem(operator.A(x), operator, 0.01, 1e-4)


def policy_of(prior: Prior) -> TextPolicy:
    """With guidance and adaptive negation, which a prior without text does not allow."""
    return POLICY if prior.text else TextPolicy()


def solve(
    solver: Solver, prior: Prior, problem: Any, prompts: Sequence[str] = PROMPTS, policy: TextPolicy | None = None,
    ids: Sequence[str] = IDS, seed: int = 0, **more: Any,
) -> Restoration:  # fmt: skip
    policy = policy or policy_of(prior)
    text = policy.start(prior, [{"prompt": prompt} for prompt in prompts])
    return solver.solve(problem, text, prior, policy, KeyedNoise([StreamKey(seed, i) for i in ids]), **more)


def check_alone(
    solver: Solver, prior: Prior, problem: Any, prompts: Sequence[str], ids: Sequence[str], samples: Sequence[int]
) -> None:
    """Some samples of a batch are what they are alone, within 1e-4 of the largest value."""
    if isinstance(solver, Inversion):
        solver = replace(solver, steps=2)  # an untrained network amplifies rounding errors on its way up and down
    together = solve(solver, prior, problem, prompts, ids=ids).signal
    assert together.shape == (len(ids), *shape_of(prior))
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    for i in samples:
        alone = solve(solver, prior, problem.of_sample(i), prompts[i : i + 1], ids=ids[i : i + 1]).signal
        allowed = 1e-4 * max(1.0, float(together[i].abs().max()))  # untrained decoders leave [-1, 1]
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=allowed)


def test_batches_do_not_matter(solver: Solver, prior: Prior) -> None:
    """Results of a batch of 3 equal those of single runs in another order, within 1e-4 of the largest value."""
    problem = problem_of(solver, prior, "linear")
    if field := refusal(solver, prior, problem):
        assert field in FIELDS_OF_PRIORS
        return
    check_alone(solver, prior, problem, PROMPTS, IDS, (2, 0))


def test_batches_of_a_nonlinear_operator_do_not_matter(solver: Solver, home: Prior) -> None:
    """On one prior: what differs between priors does not depend on the operator."""
    problem = problem_of(solver, home, "nonlinear")
    if field := refusal(solver, home, problem):
        assert field in ("operator", "prox")
        return
    check_alone(solver, home, problem, PROMPTS, IDS, (2, 0))


def test_a_batch_of_8_gives_each_what_it_gets_alone(solver: Solver, home: Prior) -> None:
    names = [f"sample {i}" for i in range(8)]
    check_alone(solver, home, problem_of(solver, home, "linear", count=8), names, names, (0, 5))


def test_neighbours_do_not_matter(solver: Solver, home: Prior) -> None:
    """In a batch of the same size, other samples beside it change nothing at all."""
    other = problem_of(solver, home, "linear", neighbours=-0.5)
    first = solve(solver, home, problem_of(solver, home, "linear")).signal
    second = solve(solver, home, other, [PROMPTS[0], "a dog", "a fox"], ids=[IDS[0], "dog", "fox"]).signal
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=1e-6)


def test_inputs_stay_as_they_are(solver: Solver, home: Prior) -> None:
    problem = problem_of(solver, home, "linear")
    policy = policy_of(home)
    text = policy.start(home, [{"prompt": prompt} for prompt in PROMPTS])
    given = problem.y if isinstance(problem, InverseProblem) else problem.source
    tensors = [given, text.prompt.tokens, text.null.tokens]
    copies = [tensor.clone() for tensor in tensors]
    solver.solve(problem, text, home, policy, KeyedNoise([StreamKey(0, i) for i in IDS]))
    assert all(torch.equal(before, after) for before, after in zip(copies, tensors, strict=True))


def test_steps_are_reported(solver: Solver, home: Prior) -> None:
    seen = []
    solve(solver, home, problem_of(solver, home, "linear"), on_step=seen.append)
    assert [info.move.index for info in seen] == list(range(solver.steps))
    assert all(info.total == solver.steps for info in seen)


def test_seed_and_text_matter_where_they_should(solver: Solver, home: Prior) -> None:
    problem = problem_of(solver, home, "linear")
    first = solve(solver, home, problem).signal
    assert torch.equal(first, solve(solver, home, problem).signal)
    moved_by_text = (first - solve(solver, home, problem, ["a dog"] * 3).signal).abs().max()
    moved_by_seed = (first - solve(solver, home, problem, seed=1).signal).abs().max()
    assert (moved_by_text > 1e-3) == (solver.uses_text and home.text is not None)
    assert (moved_by_seed > 1e-2) == solver.uses_noise


@pytest.mark.parametrize(("slot", "option"), [(slot, option) for slot, names in SLOTS.items() for option in names])
def test_every_rule_of_every_slot_runs(slot: str, option: str, prior: Prior) -> None:
    """Over every prior: samples stay apart, and a prior without what a rule needs is refused."""
    rule = instantiate(composed(f"{slot}={option}")[slot], _convert_="all")
    policy = replace(TextPolicy(ConstantGuidance(3.0)), **{slot: rule})
    solver = TReg(steps=4)
    if prior.text is None:
        if getattr(rule, "text", "") or isinstance(rule, NEED_TEXT):
            lacks = "needs image features|only the empty text works|no encoder of images and texts"
            with pytest.raises(FieldError, match=rf"^{slot}.*({lacks})"):
                policy.check(prior.info)
            return
        assert policy.start(prior, [{"prompt": ""}] * 3).prompt.tokens.numel() == 0
    policy.check(prior.info, [{"prompt": prompt if prior.text else ""} for prompt in PROMPTS])
    problem = problem_of(solver, prior, "linear")
    together = solve(solver, prior, problem, policy=policy).signal
    assert together.isfinite().all()
    alone = solve(solver, prior, problem.of_sample(1), PROMPTS[1:2], policy, IDS[1:2]).signal
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-4)


def test_a_solver_refuses_what_it_does_not_solve(solver: Solver, tiny_prior: Prior) -> None:
    x = torch.zeros(1, 3, 64, 64)
    operator = operator_of("linear", tiny_prior)
    problems = (InverseProblem(operator.A(x), operator, 0.01, 1e-4), EditProblem(x))
    name = type(solver.of if isinstance(solver, BestOf) else solver).__name__
    for problem in problems:
        if not isinstance(problem, solver.problems):
            with pytest.raises(FieldError, match=f"problem={type(problem).__name__}: {name} solves a"):
                solver.check(problem, tiny_prior.info)
