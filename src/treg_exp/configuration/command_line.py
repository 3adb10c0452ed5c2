"""Around ``run.py``: the option ``--packages``, one line for every expected mistake, and the exit code."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from treg_exp.configuration.identity import check_planned, check_single
from treg_exp.configuration.method import check_method
from treg_exp.configuration.output import output_that_stops_nothing
from treg_exp.errors import ConfigError, PrunedError, RunFailedError
from treg_exp.files import WriteError

PACKAGES_OPTION = "--packages"
SECURITY = "docs/security.md"
_exit_codes: list[int] = []  # of what this process has done


def run_job(run: Callable[[Any], float | None], cfg: Any) -> float | None:
    """Run one job of Hydra's; an expected mistake is printed and remembered, so that other jobs of a multirun go on.

    Returns:
        What the job returns, NaN where it failed.
    """

    def run_as_planned(cfg: Any) -> float | None:
        check_single(cfg)
        check_method(cfg)
        check_planned(cfg)
        return run(cfg)

    value, code = attempt(run_as_planned, cfg)
    end_with(code)
    return value


def attempt(run: Callable[[Any], float | None], cfg: Any) -> tuple[float | None, int]:
    """Run something; an expected mistake is printed.

    Returns:
        What it returns, and the exit code 0; or NaN, and another one.
    """
    try:
        return run(cfg), 0
    except PrunedError as error:
        print(f"pruned: {error}", flush=True)
        return math.nan, 0
    except ConfigError as error:
        return math.nan, _complain(str(error), 2)
    except RunFailedError as error:
        return math.nan, _complain(str(error), 1)
    except WriteError as error:
        return math.nan, _complain(f"{error}; the same command continues with what is missing", 1)


def end_with(code: int) -> None:
    """Remember an exit code; the highest one is that of the program."""
    _exit_codes.append(code)


def exit_code_of(main: Callable[[], object]) -> int:
    """Run ``main`` and return the exit code, see `_exit_code_of`; where nobody reads what it prints, it goes on."""
    with output_that_stops_nothing():
        return _exit_code_of(main)


def _exit_code_of(main: Callable[[], object]) -> int:
    """Run ``main`` and return the exit code: 0 finished, 1 some items failed, 2 a wrong setting, 130 interrupted.

    An unexpected error shows its traceback and counts as 1. SIGTERM interrupts as Ctrl-C does.
    ``HYDRA_FULL_ERROR=1`` in the environment shows full tracebacks of everything, as in every Hydra program.

    Args:
        main: what ``hydra.main`` made; it reads ``sys.argv``, from which ``--packages`` is taken before.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from treg_exp.configuration.group_options import install_nested_options
    from treg_exp.configuration.hydra_guard import install_guard
    from treg_exp.configuration.hydra_messages import explain, explain_plain

    def start() -> None:
        sys.argv[1:] = prepared_arguments(sys.argv[1:])
        install_guard(sys.argv[1:])
        install_nested_options(sys.argv[1:])
        main()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        start()
        return max(_exit_codes, default=0)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra hand its errors over instead of printing them
    try:
        start()
    except ConfigError as error:
        _exit_codes.append(_complain(str(error), 2))
    except (HydraException, OmegaConfBaseException) as error:
        _exit_codes.append(_complain(explain(error, sys.argv[1:]), 2))
    except KeyboardInterrupt as error:  # with a text where it was not this process that was interrupted
        return _complain(str(error) or "interrupted; the same command continues with what is missing", 130)
    except Exception as error:
        if message := explain_plain(error, sys.argv[1:]):
            return _complain(message, 2)
        traceback.print_exc()
        _exit_codes.append(1)
    return max(_exit_codes, default=0)


def prepared_arguments(arguments: list[str]) -> list[str]:
    """The arguments for Hydra: without ``--packages NAME[,NAME]``, whose names go to the environment.

    From there further processes have them, too.

    Raises:
        ConfigError: the option has no value, or one that is no name of a package; or Hydra would unpickle a file.
    """
    from treg_exp.configuration.targets import PACKAGES_VARIABLE, own_packages

    left, names, waiting = [], [], False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if waiting:
            names.append(argument)
            waiting = False
        elif option.startswith("--e") and "--experimental-rerun".startswith(option):  # options may be shortened
            raise ConfigError(f"--experimental-rerun: not allowed; it runs what a pickled file says, see {SECURITY}")
        elif option == PACKAGES_OPTION:
            waiting = not equals
            names += [value] if equals else []
        else:
            left.append(argument)
    if waiting:
        raise ConfigError(f"{PACKAGES_OPTION}: needs the name of a package, as {PACKAGES_OPTION} my_lab")
    if names:
        before = os.environ.get(PACKAGES_VARIABLE)
        os.environ[PACKAGES_VARIABLE] = ",".join([*([before] if before else []), *names])
    own_packages()
    return left


def interrupt(signum: int, frame: object) -> NoReturn:
    """A handler of signals: as Ctrl-C."""
    raise KeyboardInterrupt


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
