"""Where numbers come from: what differs between the runs, machines and versions, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from treg_exp.findings.collection import Run
from treg_exp.findings.methods import MEASUREMENT, Method
from treg_exp.findings.naming import differing, folder_names, readable
from treg_exp.findings.pairing import Pairing
from treg_exp.reports.columns import variant_label

if TYPE_CHECKING:
    from pandas import DataFrame

PACKAGES = ("treg_exp", "torch", "diffusers", "torchmetrics")
DIGITS = 12  # of a fingerprint
REVISION, SHA = 10, 40  # digits of a revision that are shown, and that it has


def runs_of(compared: Sequence[Method]) -> list[Run]:
    """The runs of the methods, each once."""
    return list(dict.fromkeys(run for method in compared for run in method.runs))


def settings(runs: Sequence[Run]) -> DataFrame:
    """What differs between the runs: one line per key, one column per run."""
    from pandas import DataFrame

    called = folder_names(runs)
    return DataFrame(
        {"setting": key, **{called[run.path]: readable(run.settings.get(key, "")) for run in runs}}
        for key in differing(runs)
    )


def environments(runs: Sequence[Run]) -> DataFrame:
    """State, revision, machine and versions of every run."""
    from pandas import DataFrame

    lines = []
    called = folder_names(runs)
    for run in runs:
        noted, packages = run.environment, run.environment.get("packages") or {}
        chosen = {name: str(packages.get(name) or "") for name in PACKAGES}
        about = {key: readable(noted.get(key) or "") for key in ("git", "precision", "gpus", "platform", "python")}
        about["git"] = about["git"][:REVISION] + about["git"][SHA:]  # what follows says that files were changed
        lines.append({"run": called[run.path], "folder": str(run.path), "state": run.state, **about, **chosen})
    return DataFrame(lines)


def fingerprints(runs: Sequence[Run]) -> DataFrame:
    """Hashes of what each run was made of: settings, weights of the prior, all measurements."""
    from pandas import DataFrame

    called = folder_names(runs)
    return DataFrame(
        {
            "run": called[run.path], "task": run.task, "settings": fingerprint(run.settings),
            "prior": fingerprint(_weights(run)) if run.prior_files else "unknown",
            "images": len({row["sample_id"] for row in run.rows}), "measurements": _measured(run),
        }
        for run in runs
    )  # fmt: skip


def _weights(run: Run) -> dict[str, Any]:
    """Hashes of the prior's files, without when they were written."""
    return {
        name: about.get("sha256") if isinstance(about, Mapping) else about for name, about in run.prior_files.items()
    }


def _measured(run: Run) -> str:
    hashes = {row["sample_id"]: str(row.get(MEASUREMENT) or "") for row in run.rows}
    if not any(hashes.values()):
        return "unknown"
    return fingerprint(hashes) + ("" if all(hashes.values()) else " (some are unknown)")


def fingerprint(value: Any) -> str:
    """Hash of a value that JSON can hold, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def said(runs: Sequence[Run], pairs: Sequence[Pairing]) -> list[str]:
    """Whether the runs of a task had the same measurements, and all the same weights, in a sentence each."""
    found = []
    for task in sorted({run.task for run in runs}):
        own = {_measured(run) for run in runs if run.task == task}
        compared = [pair for pair in pairs if pair.method.task == task]
        if own == {"unknown"}:
            found.append(f"{task}: no run keeps hashes of its measurements, so nothing says whether they are the same.")
        elif len(own) == 1:
            found.append(f"{task}: all runs restored the same measurements ({next(iter(own))}).")
        else:
            least = min((len(pair.images) for pair in compared), default=0)
            kept = f"; compared are images with the same one, at least {least}" if compared else ""
            found.append(f"{task}: the runs did not restore the same measurements, or not as many{kept}.")
    weights = {fingerprint(_weights(run)) for run in runs if run.prior_files}
    if weights:
        unknown = sum(not run.prior_files for run in runs)
        same = "the same weights" if len(weights) == 1 else f"{len(weights)} different sets of weights"
        found.append(f"The priors had {same}" + (f"; those of {unknown} runs are unknown." if unknown else "."))
    return found


def scored_differently(runs: Sequence[Run]) -> list[str]:
    """Names of the metrics that are not of one version, with the same weights, in all runs that say so."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for versions in run.columns.scored_by.values():
            for name, made in versions.items():
                found.setdefault(name, set()).add(fingerprint(made))
    return [name for name, made in found.items() if len(made) > 1]


def of_sets(runs: Sequence[Run]) -> DataFrame:
    """Numbers of ``summary.json`` that no row has: of whole sets, such as KID, and calibration; a line per variant."""
    from pandas import DataFrame

    called = folder_names(runs)
    lines = []
    for run in runs:
        known = {name for row in (*run.rows, *run.drawn) for name in row}
        for variant, entry in _items(run.summary.get("variants")):
            numbers = {key: value for key, value in _items(_get(entry, "metrics")) if key not in known}
            if cells := {run.columns[key].heading: _cell(value) for key, value in numbers.items()}:
                lines.append({"run": called[run.path], "text": variant_label(variant, run.columns), **cells})
    return DataFrame(lines).fillna("")


def _items(node: Any) -> Sequence[tuple[str, Any]]:
    return list(node.items()) if isinstance(node, Mapping) else []


def _get(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, Mapping) else None


def _cell(value: Any) -> str:
    """A number, with its interval where it has one."""
    if not isinstance(value, Mapping):
        return _short(value)
    low, high = value.get("low"), value.get("high")
    ends = "" if low is None or high is None else f" [{_short(low)}, {_short(high)}]"
    return f"{_short(value.get('mean'))}{ends}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
