"""Every value of every option of every group, each replaced by values that somebody might give by mistake."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tests.conftest import ROOT
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment

CONF = ROOT / "conf"
GROUPS = (
    "task", "solver", "solver/prox", "guidance", "null_text", "prompt", "prompt_rule", "text_match", "metrics",
    "last_step", "logger", "trainer", "data", "prior",
)  # fmt: skip
WRONG = ("abc", "", None, True, [], [1, "a"], {"a": 1}, -1, 0, 0.5, 1e308, -1e308, 1e-200, 10**12, math.nan, math.inf)
SECONDS = 10  # that one value may take; a check takes 0.1
IMAGES = ROOT / "src/treg_exp/assets/emoji_test/images"
#: What an option needs beside itself.
ALSO = {
    "data=folder": [f"data.path={IMAGES}", "prompt=empty"],
    "data=ambiguity": ["task=sr_x16"],
    "data=gallery": ["task=gallery"],
    "task=gallery": ["data=gallery"],
    "prompt=fixed": ["prompt.text=a"],
    "solver=inversion": ["task=edit", "+prompt@texts.source=caption"],
    "task=edit": ["solver=inversion", "+prompt@texts.source=caption"],
}


#: Options that need another prior, larger images or files of the user's.
ELSEWHERE = (
    "task=audio/hidden_samples", "task=audio/separation", "task=paper/psld_gaussian_deblur",
    "task=paper/psld_motion_deblur", "prompt=manifest", "metrics=audio", "data=audio_folder", "data=measurements",
    "metrics=perceptual", "metrics=sets_inception", "metrics=judge_open_clip",
    "data=stems", "data=hf_dataset", "data=webdataset", "prior=diffusers_dir", "prior=stable_diffusion",
    "solver=projdiff", "solver=dps", "solver=ddrm", "solver=ddnm", "solver=diffpir", "solver=red_diff",
    "solver=flowdps", "solver=flair", "solver=projdiff_phase", "solver=projdiff_hdr",
)  # fmt: skip


class Leaf(NamedTuple):
    """A value of an option."""

    option: str
    key: str


class TooSlow(BaseException):
    """A value took longer than it may; no Exception, which code that is tried could catch."""


@cache
def composed(option: str) -> DictConfig:
    base = ["experiment=single", "prior=tiny_random", "metrics=residual", "logger=csv", "data.limit=1", "seed=0"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=[*base, option, *ALSO.get(option, [])])


def options() -> list[str]:
    """All options that can start here: ``group=name``, and ``solver/prox=name``."""
    found: list[str] = []
    for group in GROUPS:
        names = [path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml")]
        found += [f"{group}={name}" for name in sorted(names) if not name.startswith("prox/")]
    return [option for option in found if option not in ELSEWHERE]


def leaves(option: str) -> list[Leaf]:
    """The values of an option, below its group."""
    group = option.partition("=")[0].replace("/", ".")
    node = OmegaConf.to_container(OmegaConf.select(composed(option), group), resolve=False)
    return [Leaf(option, key) for key in _dotted(node, group) if not key.endswith(("_target_", "_partial_"))]


def distinct(found: list[Leaf]) -> list[Leaf]:
    """The first leaf of each value of each class: many options build the same classes."""
    seen: dict[tuple[object, str], Leaf] = {}
    for leaf in found:
        parent, _, name = leaf.key.rpartition(".")
        node = OmegaConf.select(composed(leaf.option), parent)
        kind = node.get("_target_") if isinstance(node, DictConfig) else None
        seen.setdefault((kind or leaf.key, name), leaf)
    return list(seen.values())


def problem(leaf: Leaf, value: Any) -> str | None:
    """What is wrong with how a value is taken; None where it is accepted, or refused in one line that names its key."""
    cfg = composed(leaf.option).copy()
    OmegaConf.update(cfg, leaf.key, value, merge=False, force_add=True)
    try:
        with at_most(SECONDS):
            Experiment.from_config(cfg)
    except ConfigError as error:
        said = str(error)
        if "\n" in said or not said.isprintable():
            return f"several lines: {said!r}"
        named = leaf.key.rsplit(".", 1)[-1] in said or leaf.key.rpartition(".")[0] in said
        return None if named else f"names no key: {said}"
    except TooSlow:
        return "without end"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}{_place(error)}"
    return None


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer (in the main thread)."""

    def stop(signum: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _dotted(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict) and node:
        for name, child in node.items():
            yield from _dotted(child, f"{prefix}.{name}")
    else:
        yield prefix


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
