"""How ``treg-exp COMMAND --help`` shows what an option is without a value."""

from __future__ import annotations

import argparse


class DefaultsShown(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of an option that does not say it in words, and has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or "(default:" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)
