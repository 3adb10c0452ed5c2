"""Silence about what does not concern the user: notes of libraries about their own defaults."""

from __future__ import annotations

import logging
import os
import warnings


def silence_libraries() -> None:
    """Of diffusers and transformers, before they are imported, and Lightning's warnings."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def silence_lightning() -> None:
    """Of Lightning's loggers, after it is imported, which sets their level."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
