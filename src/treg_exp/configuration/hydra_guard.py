"""What a configuration may tell Hydra itself: checked as soon as it is composed, before Hydra acts on it.

Hydra builds callbacks, launcher and sweeper, configures Python's logging and sets environment variables long before
``run.py`` sees a configuration. A folder of ``--config-dir`` could use any of these to run code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from treg_exp.configuration.building import check_values
from treg_exp.configuration.targets import own_packages, target_class
from treg_exp.errors import ConfigError, nearest

CALLBACKS = ("treg_exp.engine.sweep_folder.SweepFolder", "hydra.experimental.callbacks.LogJobReturnCallback")
# Hydra builds these from its own list of installed plugins, so the names of the packages are enough.
PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.")
OUR_PLUGINS = "hydra_plugins.treg_exp."
SAMPLERS = "optuna.samplers."
# Settings that run commands, import functions or change what programs are found: from the command line alone.
COMMAND_LINE_ONLY = (
    "hydra.job.env_set", "hydra.launcher.setup", "hydra.launcher.python", "hydra.launcher.srun_args",
    "hydra.launcher.additional_parameters", "hydra.sweeper.custom_search_space",
)  # fmt: skip
HANDLERS = ("logging.StreamHandler", "logging.NullHandler")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")


def install_guard(arguments: Sequence[str]) -> None:
    """Make Hydra check every configuration that it composes in this process.

    Hydra has no hook at this place, hence the patch of a private class; a test notices when it no longer works.

    Args:
        arguments: of the command line.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    load: Callable[..., DictConfig] = ConfigLoaderImpl.load_configuration
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        cfg = load(*args, **kwargs)
        check_hydra(cfg.hydra, arguments)
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]


def check_hydra(node: DictConfig, arguments: Sequence[str] = ()) -> None:
    """Refuse settings of Hydra that would run or write something else than this program.

    Args:
        node: the ``hydra`` node of a composed configuration.
        arguments: of the command line; what is said there is the user's own word.

    Raises:
        ConfigError: a target, a class of logging, or another setting that is not allowed.
    """
    _check_known(node, "hydra")
    said = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    for name in ("callbacks", "launcher", "sweeper"):
        for path, key, value in _leaves(node.get(name), f"hydra.{name}"):
            if key == "_target_":
                _check_target(path, str(value))
            if isinstance(value, str) and len(value.splitlines()) > 1:  # in a job's script the next line is a command
                raise ConfigError(f"{path}.{key}: not allowed; must be one line")
        _check_values(node.get(name), f"hydra.{name}")
    for name in ("job_logging", "hydra_logging"):
        for path, key, value in _leaves(node.get(name), f"hydra.{name}"):
            _check_logging(path, key, value)
    for setting in COMMAND_LINE_ONLY:
        given: Any = OmegaConf.select(node, setting.removeprefix("hydra."))
        inner = [".".join((setting, str(key))) for key in given] if isinstance(given, DictConfig) else [setting]
        if given and setting not in said and (wrong := [key for key in inner if key not in said]):
            raise ConfigError(f"{wrong[0]}: not allowed in a file; say it on the command line")


def _check_known(node: DictConfig, path: str) -> None:
    """Refuse keys that are none of Hydra's, which it would accept and ignore."""
    kind = OmegaConf.get_type(node)
    if not is_dataclass(kind):
        return
    known = [field.name for field in fields(kind)]
    for key in map(str, node):
        if key not in (*known, "_target_", "env"):  # hydra/env is a group of Hydra's that its schema lacks
            raise ConfigError(f"{path}.{key}: nothing reads it{nearest(key, known)}")
        if isinstance(child := node._get_node(key), DictConfig):
            _check_known(child, f"{path}.{key}")


def _check_target(path: str, target: str) -> None:
    if path.startswith("hydra.callbacks.") and path.count(".") == 2:
        if target not in CALLBACKS:
            _check_own_callback(path, target)
    elif path in ("hydra.launcher", "hydra.sweeper"):
        if not target.startswith(PLUGINS):
            raise ConfigError(f"{path}._target_={target}: not allowed; must be a plugin of Hydra that is installed")
    elif not (path == "hydra.sweeper.sampler" and target.startswith(SAMPLERS) and target.count(".") == 2):
        raise ConfigError(f"{path}._target_={target}: not allowed")


def _check_values(node: Any, path: str) -> None:
    """Refuse values that a sweeper or launcher of ours does not take; Hydra's own have a schema."""
    from hydra.core.plugins import Plugins

    target = str(node.get("_target_", "")) if isinstance(node, DictConfig) else ""
    if not target.startswith(OUR_PLUGINS):
        return
    known = Plugins.instance().class_name_to_class
    if target not in known:
        raise ConfigError(f"{path}._target_={target}: no such plugin{nearest(target, known)}")
    values: Any = OmegaConf.to_container(node, resolve=True)
    kind = getattr(known[target], "takes", None) or known[target]
    check_values(kind, {key: value for key, value in values.items() if key != "_target_"}, path)


def _check_own_callback(path: str, target: str) -> None:
    """Callbacks of the user's own packages are allowed, as every other class of theirs is."""
    from hydra.experimental.callback import Callback

    if not target.startswith(tuple(f"{package}." for package in own_packages())):
        raise ConfigError(f"{path}._target_={target}: not allowed; callbacks are {', '.join(CALLBACKS)}")
    if not issubclass(target_class(target, path), Callback):
        raise ConfigError(f"{path}._target_={target}: makes no callback of Hydra")


def _check_logging(path: str, key: str, value: object) -> None:
    """Python's logging imports and calls what its configuration names, and its file handler writes to any file."""
    if key in ("()", ".") or (key == "class" and value not in HANDLERS):
        raise ConfigError(f"{path}.{key}={value}: not allowed; handlers are {', '.join(HANDLERS)}")
    if isinstance(value, str) and value.startswith("ext:") and value not in STREAMS:
        raise ConfigError(f"{path}.{key}={value}: not allowed; streams are {', '.join(STREAMS)}")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """(path, key, value) of everything in a node, with interpolations followed.

    Raises:
        ConfigError: an interpolation that does not resolve yet; later it could be anything.
    """
    if not isinstance(node, DictConfig | ListConfig):
        return
    keys: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        try:
            value = node[key]
        except MissingMandatoryValue:
            continue
        except OmegaConfBaseException as error:
            raise ConfigError(f"{path}.{key}: not allowed; it must be known when the program starts") from error
        yield path, str(key), value
        yield from _leaves(value, f"{path}.{key}")
