"""Which classes a configuration may name as ``_target_``. Everything else is refused before it is imported or called.

A configuration may come from elsewhere, so it gets no say in what runs: a target is a class (never a function, and
never something that is reached through attributes), it is defined where the target says, and it is of the kind that
its place in the configuration takes, see ``building.py``. It comes from this package, from the short list of library
classes below, or from a package that the user has named on the command line or in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from treg_exp.errors import ConfigError, nearest

OWN = "treg_exp"
PACKAGES_VARIABLE = "TREG_EXP_PACKAGES"
HOW_TO_ALLOW = (
    f"a package of your own is allowed by --packages NAME or {PACKAGES_VARIABLE}=NAME in the environment, see "
    "docs/extending.md"
)
# By module: names of classes, or of the one class that all classes of the module have to be derived from.
LIBRARY_CLASSES: Mapping[str, tuple[str, ...] | str] = {
    "deepinv.physics": "Physics",
    "torch.optim": "Optimizer",
    "torch.optim.lr_scheduler": "LRScheduler",
    "lightning.pytorch.callbacks": (
        "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping", "GradientAccumulationScheduler",
        "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "RichProgressBar", "StochasticWeightAveraging",
        "TQDMProgressBar", "Timer",
    ),
    "lightning.pytorch.loggers": ("CSVLogger", "TensorBoardLogger"),
}  # fmt: skip


def own_packages() -> tuple[str, ...]:
    """The user's packages: names, as ``my_lab`` or ``my_lab.solvers``, from the environment.

    Raises:
        ConfigError: something in the variable is no name of a package.
    """
    names = tuple(name for name in re.split(r"[,:\s]+", os.environ.get(PACKAGES_VARIABLE, "")) if name)
    for name in names:
        if not _is_dotted_name(name):
            raise ConfigError(
                f"{name}: is no name of a package, as my_lab or my_lab.solvers; it stands behind --packages or in "
                f"{PACKAGES_VARIABLE}"
            )
    return names


def target_class(target: object, path: str) -> type[Any]:
    """The class that a ``_target_`` names.

    Args:
        target: what the configuration says, as ``treg_exp.solvers.treg.TReg``.
        path: dotted name of its node, for messages.

    Raises:
        ConfigError: no name of a class, one that is not allowed, or one that does not exist.
    """
    key = f"{path}._target_={target}"
    if not isinstance(target, str) or "." not in target or not _is_dotted_name(target):
        raise ConfigError(f"{key}: not allowed; must be the full name of a class, as treg_exp.solvers.treg.TReg")
    module, _, name = target.rpartition(".")
    package = next((p for p in (OWN, *own_packages()) if f"{target}.".startswith(f"{p}.")), None)
    if package is not None:
        return _class_of_package(module, name, package, key)
    if module in LIBRARY_CLASSES:
        return _class_of_library(module, name, key)
    raise ConfigError(f"{key}: not allowed; {HOW_TO_ALLOW}")


def _class_of_package(module_name: str, name: str, package: str, key: str) -> type[Any]:
    """A class that is defined in a module of a package."""
    module = _imported(module_name, key)
    found = vars(module).get(name)
    if found is None:
        classes = [n for n, value in vars(module).items() if _is_class_of(value, package) and not n.startswith("_")]
        raise ConfigError(f"{key}: {module_name} has no class {name}{nearest(name, classes) or '.'}")
    if not isinstance(found, type):
        raise ConfigError(f"{key}: not allowed; {name} is no class")
    # A package of the user's own may offer its classes in one place; what it has imported from elsewhere is not its.
    if not (found.__module__ == module_name if package == OWN else _is_class_of(found, package)):
        raise ConfigError(f"{key}: not allowed; the class is defined in {found.__module__}")
    return found


def _class_of_library(module_name: str, name: str, key: str) -> type[Any]:
    """A class on the list."""
    allowed = LIBRARY_CLASSES[module_name]
    if not isinstance(allowed, str) and name not in allowed:
        raise ConfigError(f"{key}: not allowed; of {module_name} only {', '.join(allowed)}")
    module = _imported(module_name, key)
    found = vars(module).get(name)
    if isinstance(allowed, str) and not (isinstance(found, type) and issubclass(found, getattr(module, allowed))):
        raise ConfigError(f"{key}: not allowed; of {module_name} only what is a {allowed}")
    if not isinstance(found, type):
        raise ConfigError(f"{key}: the installed {module_name} has no such class")
    return found


def _imported(module_name: str, key: str) -> ModuleType:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{key}: there is no module {error.name}") from error
        raise ConfigError(f"{key}: {module_name} cannot be imported: {error}") from error
    except Exception as error:  # a module of the user's own can fail in any way
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{key}: {module_name} cannot be imported: {said}") from error


def _is_class_of(value: object, package: str) -> bool:
    return isinstance(value, type) and f"{value.__module__}.".startswith(f"{package}.")


def _is_dotted_name(text: str) -> bool:
    """Whether a text is made of public names: nothing private, no ``__dunder__``, no empty part."""
    return all(part.isascii() and part.isidentifier() and not part.startswith("_") for part in text.split("."))
