"""Sweepers and launchers where Hydra looks for them; what they do is in ``treg_exp.sweeps``.

Hydra imports this module at every start, so nothing here may be heavy.
"""

from treg_exp.sweeps.launching import InProcess
from treg_exp.sweeps.local.pool import LocalPool
from treg_exp.sweeps.search.sweeper import SearchSweeper
from treg_exp.sweeps.sweeping import GridSweeper, ResumeSweeper


class OneByOne(InProcess):
    """``hydra/launcher=in_process``."""


class LocalGpus(LocalPool):
    """``hydra/launcher=local_gpus``."""


class Grid(GridSweeper):
    """``hydra/sweeper=grid``."""


class Resume(ResumeSweeper):
    """``hydra/sweeper=resume``."""


class OptunaSearch(SearchSweeper):
    """``hydra/sweeper=optuna_search``."""
