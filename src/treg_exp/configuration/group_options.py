"""Options in subfolders, as experiment=best/treg, named by ``--help`` and the shell's completion as they are typed.

Hydra takes every subfolder for a group of its own. It is one where a ``defaults`` list names it, as ``solver/prox``;
the others only sort the options of their group.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PART = "shared"  # what the options of a folder have in common, none by itself
ASKING = ("--help", "-h", "--shell-completion", "-sc")


def install_nested_options(arguments: Sequence[str]) -> None:
    """Make Hydra list options in subfolders as options of their group, where the command line asks for a list.

    Hydra has no hook at this place, hence the patch of a private class; a test notices when it no longer works.

    Args:
        arguments: of the command line. Elsewhere nothing is changed: ``glob(*)`` takes what it did.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.object_type import ObjectType

    listed: Callable[..., list[str]] = ConfigLoaderImpl.get_group_options
    if hasattr(listed, "__wrapped__") or not {a.partition("=")[0] for a in arguments} & set(ASKING):
        return

    @functools.cache  # Hydra asks three times for a group, and copies its whole configuration to answer
    def options(loader: Any, group: str, kind: Any, config_name: str | None, overrides: tuple[str, ...]) -> list[str]:
        return listed(loader, group, kind, config_name, list(overrides))

    @functools.wraps(listed)
    def with_nested(
        self: Any,
        group_name: str,
        results_filter: Any = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: Sequence[str] | None = None,
    ) -> list[str]:
        asked = (config_name, tuple(overrides or ()))
        found = list(options(self, group_name, results_filter, *asked))
        if not group_name or group_name.split("/")[0] == "hydra" or results_filter is None:
            return found
        roots = [Path(source.path) for source in self.get_sources() if source.scheme() == "file"]
        folders = options(self, group_name, ObjectType.GROUP, *asked)
        own = [name for name in folders if is_own_group(group_name, name, roots)]
        if results_filter is ObjectType.GROUP:
            return own
        sorting = [name for name in folders if name not in own]
        parts = {name: with_nested(self, f"{group_name}/{name}", ObjectType.CONFIG, *asked) for name in sorting}
        nested = [f"{name}/{option}" for name, inner in parts.items() for option in inner]
        return [name for name in found + nested if name.rpartition("/")[2] != PART]

    ConfigLoaderImpl.get_group_options = with_nested  # type: ignore[method-assign]


def is_own_group(group: str, name: str, roots: Sequence[Path]) -> bool:
    """Whether a ``defaults`` list of a group's options names a folder in it.

    Args:
        group: of the options, as ``solver``.
        name: of the folder, as ``prox``.
        roots: folders of configuration.
    """
    named = re.compile(rf"^\s*- (override )?{re.escape(name)}(@\S+)?:", re.MULTILINE)
    files = (file for root in roots for file in (root / group).glob("*.yaml"))
    return any(named.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)
