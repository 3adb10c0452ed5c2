"""``treg-exp doctor``: is this installation able to run? Answers in seconds, without loading a model."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.configuration.places import one_line
from treg_exp.shipped import ASSETS, HASHES, SHIPPED, file_hash, read_hashes

if TYPE_CHECKING:
    from packaging.requirements import Requirement

WANDB_SECONDS = 120  # a slow disk needs many for the first import
# A run in a folder of its own, as the mirror opens it; the last line of an error is its name and message.
WANDB_TRIAL = """
import sys, wandb
settings = wandb.Settings(silent=True, console="off")
wandb.init(project="treg_exp", mode="offline", dir=sys.argv[1], settings=settings).finish()
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        ok: False for a problem.
        text: what was found; of a problem also what to do.
    """

    ok: bool
    text: str


def doctor(run_dir: Path = Path("runs"), assets: Path = ASSETS) -> int:
    """Examine the installation and print one line per finding.

    Args:
        run_dir: where runs will be written.
        assets: folder of the shipped prior and test set.

    Returns:
        Exit status: 0 if all is well, 1 with a problem.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": check_versions,
        "device": check_device,
        "assets": lambda: check_assets(assets),
        "run folder": lambda: check_run_folder(run_dir),
        "wandb": check_wandb,
    }
    problems = 0
    for name, check in checks.items():
        for finding in _all_findings(name, check):
            problems += not finding.ok
            print(f"{'ok     ' if finding.ok else 'PROBLEM'}  {name}: {finding.text}", flush=True)
    print("All is well." if not problems else f"{problems} {'problem' if problems == 1 else 'problems'}.")
    return int(problems > 0)


def _all_findings(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What the check finds; one that cannot be made is a finding, too, and does not hide the others."""
    try:
        yield from check()
    except Exception as error:
        line = one_line(error)
        yield Finding(False, f"the check failed with {type(error).__name__}: {line}; install the package again")


def check_versions() -> Iterator[Finding]:
    """Python and every package that the installed metadata asks for."""
    from packaging.specifiers import SpecifierSet

    try:
        pythons = metadata.metadata("treg_exp")["Requires-Python"]
        required = requirements("treg_exp")
    except metadata.PackageNotFoundError:
        yield Finding(False, "treg_exp is not installed in this environment: pip install -e . in its folder")
        return
    python = platform.python_version()
    if SpecifierSet(pythons).contains(python, prereleases=True):
        yield Finding(True, f"Python {python}")
    else:
        yield Finding(False, f"Python {python} runs, {pythons} is needed: make a new environment with such a Python")
    wrong = 0
    for requirement in required:
        name, advice = requirement.name, f"pip install {shlex.quote(f'{requirement.name}{requirement.specifier}')}"
        installed = version_of(name)
        if installed is None:
            yield Finding(False, f"{name} is missing: {advice}")
        elif not requirement.specifier.contains(installed, prereleases=True):
            yield Finding(False, f"{name} {installed} is installed, {requirement.specifier} is needed: {advice}")
        else:
            continue
        wrong += 1
    if not wrong:
        some = ", ".join(f"{name} {version_of(name)}" for name in ("torch", "diffusers", "transformers", "lightning"))
        yield Finding(True, f"{len(required)} requirements are met, among them {some}")


def requirements(package: str, extras: Collection[str] = ()) -> list[Requirement]:
    """What an installed package asks for on this machine, together with what the extras that it names ask for.

    Args:
        package: name of the package.
        extras: return only what these add.
    """
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, metadata.requires(package) or ()):
        plain = _applies(requirement, "")
        added = not plain and any(_applies(requirement, extra) for extra in extras)
        if not (added if extras else plain):
            continue
        found.append(requirement)
        if requirement.extras and version_of(requirement.name):
            found += requirements(requirement.name, requirement.extras)
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def version_of(package: str) -> str | None:
    """The installed version, None where the package is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_device() -> Iterator[Finding]:
    """Which device ``trainer.accelerator=auto`` takes there, and what ``precision=auto`` means on it."""
    import torch

    from treg_exp.priors.precision import has_fast_bf16

    import_module("torchvision")  # a build for another torch fails here
    if torch.cuda.is_available():
        device, name = torch.device("cuda"), f"{torch.cuda.device_count()} GPU, {torch.cuda.get_device_name(0)}"
        reasons = ("bf16 is native on it", "its generation has no native bf16")
    elif torch.backends.mps.is_available():
        device, name, reasons = torch.device("mps"), "Apple GPU (mps)", ("", "bf16 is not relied on there")
    else:
        device, name = torch.device("cpu"), f"CPU with {os.cpu_count()} cores, no GPU that torch can use"
        reasons = ("it has AMX", "it has no AMX, and bf16 is mostly slower without")
    bf16 = has_fast_bf16(device)
    choice = "bf16" if bf16 else "float32"
    yield Finding(True, f"{name}; precision=auto takes {choice}: {reasons[0 if bf16 else 1]}")


def check_assets(assets: Path = ASSETS) -> Iterator[Finding]:
    """The shipped folders against their hash files."""
    for name in SHIPPED:
        folder = assets / name
        again = f"restore {folder} (git checkout, or install the package again)"
        if not (folder / HASHES).is_file():
            what = f"{name}/{HASHES} is missing" if folder.is_dir() else f"the folder {name} is missing"
            yield Finding(False, f"{what}: {again}")
            continue
        expected = read_hashes(folder)
        missing = [file for file in expected if not (folder / file).is_file()]
        changed = [file for file in expected if file not in missing and file_hash(folder / file) != expected[file]]
        for files, state in ((missing, "missing"), (changed, "changed")):
            if files:
                count = f"1 of {len(expected)} files is" if len(files) == 1 else f"{len(files)} files are"
                some = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
                yield Finding(False, f"{name}: {count} {state} ({some}): {again}")
        if not missing and not changed:
            yield Finding(True, f"{name}: {len(expected)} files as published")


def check_run_folder(run_dir: Path) -> Iterator[Finding]:
    """Whether a file can be written in the run folder, or in the nearest folder above it that exists."""
    place = run_dir.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"treg_exp")
    except OSError as error:
        yield Finding(False, f"cannot write in {place} ({error.strerror}): choose another folder with run_dir=...")
    else:
        yield Finding(True, f"{place} can be written")


def check_wandb() -> Iterator[Finding]:
    """An offline run of W&B in a process of its own, which it cannot outlive or disturb."""
    advice = "runs work without it (logger=csv); else pip install --force-reinstall wandb"
    # On Windows W&B may hold its log for a moment longer than the run; the rest of the folder goes.
    with tempfile.TemporaryDirectory(prefix="treg_exp-wandb-", ignore_cleanup_errors=True) as folder:
        try:
            command = [sys.executable, "-c", WANDB_TRIAL, folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=WANDB_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            yield Finding(False, f"no offline run within {WANDB_SECONDS} s: {advice}")
            return
        written = list(Path(folder).glob("wandb/offline-run-*/*.wandb"))
    if done.returncode == 0 and written:
        yield Finding(True, f"wandb {version_of('wandb')} makes offline runs")
    else:
        reason = (done.stderr.strip().splitlines() or ["nothing was written"])[-1]
        yield Finding(False, f"no offline run ({reason}): {advice}")
