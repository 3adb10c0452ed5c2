"""How well an image fits a text, by a second open_clip model: the independent judge of priors for photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from treg_exp.metrics.alignment import Roles, TextAlignment
from treg_exp.metrics.base import MetricInput
from treg_exp.metrics.independence import Guide, check_other
from treg_exp.metrics.judge import LABELS
from treg_exp.priors.image_text.open_clip import OpenClip, OpenClipFiles

ROLES: Mapping[str, Roles] = {"judge_own": "caption", "judge_counterfactual": "counterfactual"}


class OpenClipJudge(TextAlignment):
    """Cosine to the captions by an open_clip model that guides nothing; None for images without the text.

    It has to be another model than those that guide, and than the towers of the prior: names, tags and weights are
    compared before anything is loaded, see ``independence.py``.

    Args:
        open_clip: the model.
        roles: column -> role of the text; of several, the first in which an image has one. None compares
            ``judge_own`` with the ``caption`` and ``judge_counterfactual`` with the ``counterfactual``.

    Raises:
        FieldError: there is no such model or file.
        FileError: the file is broken or holds the weights of another model.
    """

    labels = LABELS
    optimised = False
    packages = ("open_clip_torch",)

    def __init__(self, open_clip: OpenClipFiles, roles: Mapping[str, Roles] | None = None) -> None:
        super().__init__(ROLES if roles is None else roles)
        open_clip.width()
        self.open_clip = open_clip

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return [self.open_clip.file]

    def check_guides(self, guides: Sequence[Guide]) -> str:
        """See ``Measure``."""
        return check_other(self.open_clip, guides)

    def encoder(self, inp: MetricInput) -> OpenClip:
        """The model, on the device of the images."""
        return _loaded(self.open_clip, inp.signal.device)


@lru_cache(maxsize=1)
def _loaded(files: OpenClipFiles, device: torch.device) -> OpenClip:
    """Once per process and device; lent, never moved."""
    return files.load(device)
