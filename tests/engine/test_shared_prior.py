"""Jobs of one process share what they can, and leave nothing behind that changes another one's numbers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.engine.test_app import go
from treg_exp.engine import module, shared_prior
from treg_exp.engine.costs import NOT_REPEATED
from treg_exp.engine.shared_prior import SharedPrior
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.priors import diffusers_folder, tokenizers
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.solvers.treg import TReg

MODEL = DATA / "parity" / "tiny_model"
CPU = torch.device("cpu")
BASE = ["experiment=single", "prompt=caption", "data.limit=2", "data.batch_size=1"]
#: Jobs of a sweep that share a prior, and one that has the same files and other options.
JOBS = {
    "one": ["guidance.scale=2"],
    "other": ["guidance.scale=5", "task=sr_x4", "null_text=fixed", "+prior.gradient_checkpointing=false"],
    "half": ["guidance.scale=2", "prior.precision=bf16", "+prior.vae_slicing=true"],
}


def numbers(folder: Path, *overrides: str) -> dict[str, dict[str, Any]]:
    """The rows of a run, without what a clock says."""
    rows = go(folder, *BASE, *overrides)
    return {sample: {k: v for k, v in row.items() if k not in NOT_REPEATED} for (sample, _), row in rows.items()}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[DiffusersFolder]:
    """A process that has done no job yet; what it loads from now on."""
    monkeypatch.setattr(module, "SHARED_PRIOR", SharedPrior())
    seen, load = [], DiffusersFolder.load
    monkeypatch.setattr(DiffusersFolder, "load", lambda self, device="cpu": (seen.append(self), load(self, device))[1])
    return seen


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What each job gives as the only one of its process."""
    found = {}
    for name, job in JOBS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SHARED_PRIOR", SharedPrior())
            found[name] = numbers(tmp_path_factory.mktemp(name) / "r", *job)
    return found


@pytest.mark.parametrize(
    ("order", "times"),
    [
        (("one", "other"), 1),
        pytest.param(("other", "one"), 1, marks=pytest.mark.slow),
        pytest.param(("one", "one", "other", "one"), 1, marks=pytest.mark.slow),
        (("one", "half"), 2),
        pytest.param(("half", "one", "half"), 3, marks=pytest.mark.slow),
    ],
)
def test_jobs_of_one_process_give_what_they_give_alone(
    order: tuple[str, ...], times: int, alone: dict, loads: list, tmp_path: Path
) -> None:
    for place, name in enumerate(order):
        assert numbers(tmp_path / str(place), *JOBS[name]) == alone[name], (order, place)
    assert len(loads) == times


def test_the_prior_of_a_job_that_raised_is_not_used_again(
    alone: dict, loads: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruin(self: TReg, problem: Any, text: Any, prior: Any, *rest: Any) -> None:
        prior.denoiser.wrapped.network.arrange("bf16")
        with torch.no_grad():
            next(prior.denoiser.wrapped.network.module.parameters()).zero_()
        raise ArithmeticError("in the middle")

    assert numbers(tmp_path / "before", *JOBS["one"]) == alone["one"]
    with monkeypatch.context() as patch:
        patch.setattr(TReg, "solve", ruin)
        with pytest.raises(ArithmeticError, match="in the middle"):
            numbers(tmp_path / "ruined", *JOBS["other"])
    assert numbers(tmp_path / "after", *JOBS["other"]) == alone["other"]
    assert numbers(tmp_path / "ruined", *JOBS["other"]) == alone["other"]
    assert len(loads) == 2


def test_a_second_try_in_float32_leaves_the_prior_as_it_was(
    alone: dict, loads: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, tries = TReg.solve, []

    def fail_first(self: TReg, *given: Any) -> Any:
        restoration = solve(self, *given)
        tries.append(restoration.signal.isfinite().all())
        if len(tries) == 1:
            restoration.signal[:] = torch.nan
        return restoration

    with monkeypatch.context() as patch:
        patch.setattr(TReg, "solve", fail_first)
        rows = numbers(tmp_path / "recovered", *JOBS["half"])
    assert sum("recovered" in row for row in rows.values()) == 1
    assert numbers(tmp_path / "next", *JOBS["half"]) == alone["half"]
    assert len(loads) == 1


def test_a_dry_run_leaves_its_prior_to_the_next_job(alone: dict, loads: list, tmp_path: Path) -> None:
    go(tmp_path / "dry", *BASE, *JOBS["one"], "dry_run=true")
    assert numbers(tmp_path / "r", *JOBS["one"]) == alone["one"]
    assert len(loads) == 1


def in_place(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def renamed(file: Path, data: bytes) -> None:
    (file.parent / "new").write_bytes(data)
    (file.parent / "new").replace(file)


@pytest.mark.parametrize("write", [in_place, renamed])
def test_exchanged_weights_are_loaded(write: Callable[[Path, bytes], None], loads: list, tmp_path: Path) -> None:
    """Also where they have the same size and were given the same time of change, as by rsync."""
    folder = shutil.copytree(MODEL, tmp_path / "model")
    file, shared = folder / "unet" / "diffusion_pytorch_model.safetensors", SharedPrior()
    first = shared.borrow(DiffusersFolder(path=str(folder)), CPU)
    before = first.prior.denoiser.network.module.conv_in.bias.clone()  # the file itself is its memory
    shared.give_back(first)
    again = shared.borrow(DiffusersFolder(path=str(folder)), CPU)
    shared.give_back(again)
    assert again is first
    stat, tensors = file.stat(), load_file(file)
    save_file({**tensors, "conv_in.bias": tensors["conv_in.bias"] + 1}, tmp_path / "changed", {"format": "pt"})
    write(file, (tmp_path / "changed").read_bytes())
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    changed = shared.borrow(DiffusersFolder(path=str(folder)), CPU)
    assert torch.equal(changed.prior.denoiser.network.module.conv_in.bias, before + 1)
    assert len(loads) == 2


def test_one_prior_is_kept_at_most_and_only_where_its_files_are_known(loads: list) -> None:
    shared = SharedPrior()
    specs = [DiffusersFolder(path=str(MODEL), precision=precision) for precision in ("fp32", "bf16", "fp32")]
    for spec in specs:
        shared.give_back(shared.borrow(spec, CPU))
    assert len(loads) == 3
    assert shared.borrow(specs[-1], CPU).spec == specs[-1]
    assert len(loads) == 3
    assert shared.borrow(specs[-1], CPU) is not shared.borrow(specs[-1], CPU)  # what is lent is lent once
    assert len(loads) == 5

    @dataclass(frozen=True)
    class Own:
        """A user's own: what it is made from, nobody knows."""

        def load(self, device: torch.device) -> object:
            return object()

    loan = shared.borrow(Own(), CPU)
    shared.give_back(loan)
    assert shared.borrow(Own(), CPU) is not loan


def test_a_prior_is_checked_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(MODEL, tmp_path / "model")
    checks: list[str] = []
    check = diffusers_folder.check_network
    monkeypatch.setattr(diffusers_folder, "check_network", lambda f, part, n: (checks.append(part), check(f, part, n)))
    for _ in range(2):
        prior = DiffusersFolder(path=str(folder))
        prior.check()
        prior.load()
    assert sorted(checks) == sorted(prior.networks)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    for _ in range(2):  # what has failed is no better the next time
        with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors"):
            DiffusersFolder(path=str(folder)).check()
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"missing unet/config\.json|unet"):
        DiffusersFolder(path=str(folder)).check()


def test_tokenizers_and_judge_are_loaded_once(tmp_path: Path) -> None:
    folder = shutil.copytree(MODEL, tmp_path / "model")
    before = tokenizers._loaded.cache_info().misses
    go(tmp_path / "r", *BASE, "metrics=default", f"prior.path={folder}")  # asked for by check, note and run
    assert tokenizers._loaded.cache_info().misses == before + 1
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(file.read_text() + "\n")
    DiffusersFolder(path=str(folder)).check()
    assert tokenizers._loaded.cache_info().misses == before + 2
    assert load_judge() is load_judge()


def test_the_shared_prior_is_that_of_this_process() -> None:
    assert module.SHARED_PRIOR is shared_prior.SHARED_PRIOR
