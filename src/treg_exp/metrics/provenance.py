"""What made the numbers of a row: versions of the metrics, of the packages that they call, and hashes of their weights.

A row holds a short hash, ``scored_by``; ``columns.json`` says what is behind it, for every hash in the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from treg_exp.metrics.base import Measure
from treg_exp.stamps import digest_of

DIGITS = 8  # hexadecimal, of the hash in a row
WEIGHT_DIGITS = 16

Versions = dict[str, dict[str, Any]]  # metric -> class, version, packages, weights


def versions_of(metrics: Mapping[str, Measure]) -> Versions:
    """Class, version, packages and hashes of weights of every metric; reads the files, loads nothing."""
    return {
        name: {
            "class": f"{type(metric).__module__}.{type(metric).__qualname__}",
            "version": metric.version,
            "packages": {package: _version(package) for package in sorted(metric.packages)},
            "weights": {file.name: digest_of(file)[:WEIGHT_DIGITS] for file in metric.weight_files()},
        }
        for name, metric in metrics.items()
    }


def hash_of_versions(versions: Versions) -> str:
    """Eight hexadecimal digits that stand for all of it."""
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
