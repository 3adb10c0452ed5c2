"""Every solver of ``conf/solver`` on every task of ``conf/task``: it restores, or says before weights why it cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from tests.conftest import DATA, ROOT
from tests.e2e.test_all_tasks import fits
from tests.operators.tasks import NAMES, NONLINEAR, load_task, smallest_shape
from tests.priors.folders import ddim, write_pixel
from tests.solvers.gaussian import diffusion
from tests.solvers.test_contract import shortened
from tests.test_config import composed
from treg_exp.errors import ConfigError, FieldError
from treg_exp.experiment import Experiment
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.solvers.base import Solver
from treg_exp.solvers.flow_space import FlowSolver
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.signal_space import SignalSolver
from treg_exp.solvers.stsl import STSL
from treg_exp.tasks.problems import EditProblem, Problem
from treg_exp.text.policy import TextPolicy

SOLVERS = sorted(p.stem for p in (ROOT / "conf" / "solver").glob("*.yaml"))
TASKS = [*NAMES, "edit"]
EDITORS = {"inversion"}

# What docs/solvers.md says that they need.
LINEAR = {
    "adjoint", "pseudo_inverse", "psld", "latino", "latino_compat", "latino_pro", "treg_compat", "ddrm", "ddnm",
}  # fmt: skip
SINGULAR_VALUES = {"ddrm", "ddnm"}
PROJDIFF = {"projdiff", "projdiff_phase", "projdiff_hdr"}
DAMPED = {f"paper/{name}_motion_deblur" for name in ("daps", "psld", "resample")}
UNKNOWN = DAMPED | {"blurred_sr", "deepinv", "sparse_view_ct"}  # no singular values, and noise
CIRCULAR = {"anisotropic_deblur", "motion_deblur", "mri_x4"}  # those of Fourier modes, which ProjDiff does not take


@dataclass(frozen=True)
class Independent:
    """The denoiser of independent numbers of deviation 0.5; also where no signal is left."""

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        z_0 = 0.25 * level.alpha / (0.25 * level.alpha**2 + level.sigma**2) * z_t
        return Prediction(z_0, level.noise_in(z_t, z_0))


@cache
def posed(name: str) -> Problem:
    """The task for one picture of the smallest side that it takes, or for one recording."""
    if name == "edit":
        return EditProblem(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    task = load_task(name)
    shape = smallest_shape(name) if name.startswith("audio/") else (3, *(64 if fits(name, 64) else 128,) * 2)
    operator = task.build(shape, ["a"])
    x = torch.rand(1, *operator.signal_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return task.measure(x, ["a"], shape)


def is_of_signals(solver: Solver) -> bool:
    """Whether it takes no latents."""
    return isinstance(solver, SignalSolver) or (isinstance(solver, ProjDiff) and not solver.latent)


def home_of(solver: Solver, name: str, latents: Prior) -> Prior:
    """A prior of the kind that the solver is written for; of recordings there are only signals here."""
    shape = posed(name).signal_shape
    flow = isinstance(solver, FlowSolver)
    if not (flow or is_of_signals(solver) or name.startswith("audio/")):
        return latents
    medium = "audio" if name.startswith("audio/") else "image"
    schedule, kind = (Flow(shift=3.0), "flow") if flow else (diffusion(), "epsilon")
    return Prior(PriorInfo(medium, shape, shape[0], 1, 1, schedule, kind), IdentityCodec(), Independent())


def refused(name: str) -> set[str]:
    """The tasks that a solver cannot solve."""
    if name in EDITORS:
        return set(NAMES)
    cannot = set() if name == "unconditional" else {"edit"}
    if name == "best_of":  # its score is one of pictures
        cannot |= {task for task in NAMES if task.startswith("audio/")}
    if name in LINEAR:
        cannot |= set(NONLINEAR)
    if name in SINGULAR_VALUES:
        cannot |= UNKNOWN
    if name in PROJDIFF:
        known = {task for task in NONLINEAR if task.endswith(("phase_retrieval", "hdr"))}
        noisy = {task for task in NONLINEAR if posed(task).sigma > 0} - known
        cannot |= UNKNOWN | CIRCULAR | noisy
    return cannot


def refusal(solver: Solver, problem: Problem, prior: Prior) -> str:
    """What a solver says where it refuses a problem, and nothing where it takes it."""
    try:
        solver.check(problem, prior.info)
    except FieldError as error:
        return str(error)
    return ""


def loaded(name: str) -> Solver:
    """As its YAML says, with few steps."""
    solver = shortened(instantiate(composed(f"solver={name}").solver, _convert_="all"), steps=3)
    return replace(solver, steps=2, inner=1) if isinstance(solver, STSL) else solver


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_restores_or_refuses(name: str, tiny_prior: Prior) -> None:
    """Finite signals of the right shape, or a line that names the field and says what to do; nothing else."""
    solver, policy, found = loaded(name), TextPolicy(), set()
    for task in TASKS:
        problem, prior = posed(task), home_of(solver, task, tiny_prior)
        if told := refusal(solver, problem, prior):
            found.add(task)
            assert re.search(r"^(operator|prox|score)=\w+: .*; \w+|^problem=\w+: \w+ solves .*, not ", told), told
            continue
        text = policy.start(prior, [{"prompt": "a cat" if prior.text else ""}])
        signal = solver.solve(problem, text, prior, policy, KeyedNoise([StreamKey(0, "a")])).signal
        assert signal.shape[1:] == problem.signal_shape, task
        assert signal.isfinite().all(), task
    assert found == refused(name)


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Overrides that choose a prior of each kind."""
    pixel = write_pixel(tmp_path_factory.mktemp("pixel") / "prior", size=64, scheduler=ddim())
    return {
        "latents": [f"prior.path={DATA}/parity/tiny_model", "data.image_size=64"],
        "signals": ["prior=diffusers_dir", f"prior.path={pixel}", "data.image_size=64", "prompt=empty"],
        "flow": ["prior=emoji64_flow"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LINEAR | SINGULAR_VALUES | PROJDIFF))
def test_what_cannot_be_solved_is_said_before_any_weights(
    name: str, priors: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user meets it: the program's own checks, with weights that cannot be loaded."""

    def load(*arguments: object, **more: object) -> None:
        raise AssertionError("weights were loaded before the solver had been asked")

    monkeypatch.setattr("treg_exp.priors.diffusers_folder.DiffusersFolder.load", load)
    solver = loaded(name)
    kind = "flow" if isinstance(solver, FlowSolver) else "signals" if is_of_signals(solver) else "latents"
    without = ["guidance=conditional", "null_text=off", "text_match=off"]
    for task in sorted(refused(name) - {"edit", "deepinv"}):  # which is no task before a physics is chosen
        if task.startswith("audio/") or not fits(task, 64):
            continue
        rules = ["prompt_rule=prompt_ascent"] if name.startswith("latino_pro") else []
        settings = [*priors[kind], *without, *rules, f"solver={name}", f"task={task}", "data.limit=1"]
        with pytest.raises(ConfigError, match=r"^(task\.operator|solver\.prox)=\w+: .*; \w+"):
            Experiment.from_config(composed(*settings))
