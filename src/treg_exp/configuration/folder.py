"""Where the configuration lies: at the top of the repository, and in an installed package inside it."""

from __future__ import annotations

from pathlib import Path

import treg_exp

_PACKAGE = Path(treg_exp.__file__).resolve().parent
CONF = "conf"


def config_folder() -> Path:
    """The folder with ``config.yaml`` and the groups.

    In the wheel it is a part of the package; a clone and an editable installation have it beside ``src``.
    """
    packaged = _PACKAGE / CONF
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / CONF
