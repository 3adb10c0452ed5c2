"""Features of pictures that distances between sets compare: of the judge that ships, or of Inception."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from treg_exp.metrics.networks.judge import at_size, caution_of_judge, judge_files, load_judge
from treg_exp.metrics.networks.weights import SAFE, check_weights, read_torch
from treg_exp.signals.ranges import check_range, to_uint8
from treg_exp.stamps import Stamp, stamps_of

INCEPTION = "inception-v3-compat"
INCEPTION_WIDTH = 2048
HOW_INCEPTION = (
    "weights-inception-2015-12-05-6726825d.pth, the TensorFlow network of 2015-12-05 that FID is defined with "
    "(https://github.com/toshas/torch-fidelity/releases, v0.2.0, 91 MB)"
)


class FeatureExtractor(Protocol):
    """From pictures to features.

    Attributes:
        name: for summaries.
        width: F.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, F); that of a picture does not depend on its neighbours."""
        ...

    def weight_files(self) -> Sequence[Path]:
        """Files of its network."""
        ...

    def caution(self, prior: str) -> str:
        """See ``Measure``."""
        ...


@dataclass(frozen=True)
class JudgeFeatures:
    """The last maps of the judge's image tower, means and maxima; it has seen emoji only.

    Attributes:
        folder: of the judge; None for the one that ships.

    Raises:
        FileError: there is no judge.
    """

    folder: str | None = None

    def __post_init__(self) -> None:
        load_judge(self.folder)

    @property
    def name(self) -> str:
        """See ``FeatureExtractor``."""
        return "judge"

    @property
    def width(self) -> int:
        """See ``FeatureExtractor``."""
        return int(load_judge(self.folder).image_head.in_features)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """See ``FeatureExtractor``."""
        return load_judge(self.folder).to(x.device).pooled(at_size(check_range(x, "pictures").float()))

    def weight_files(self) -> Sequence[Path]:
        """See ``FeatureExtractor``."""
        return judge_files(self.folder)

    def caution(self, prior: str) -> str:
        """See ``FeatureExtractor``."""
        return caution_of_judge(self.folder, prior)


@dataclass(frozen=True)
class InceptionFeatures:
    """The 2048 features of Inception-v3 as torchmetrics computes them: what published FID and KID use.

    Attributes:
        weights: of the network, a local file; it does not ship.
        antialias: resize to 299 x 299 pixels with antialiasing, torchmetrics' default; false is TensorFlow's bilinear
            resizing of the original code. The two give different numbers.

    Raises:
        FieldError: there is no such file.
        FileError: it is broken or holds something else.
    """

    weights: str
    antialias: bool = True

    def __post_init__(self) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        with torch.device("meta"):
            network = _empty(FeatureExtractorInceptionV3)
        check_weights(self.weights, network, "Inception-v3", HOW_INCEPTION)

    @property
    def file(self) -> Path:
        """Where the weights are."""
        return Path(self.weights).expanduser()

    @property
    def name(self) -> str:
        """See ``FeatureExtractor``."""
        return "inception" if self.antialias else "inception, resized as TensorFlow does"

    @property
    def width(self) -> int:
        """See ``FeatureExtractor``."""
        return INCEPTION_WIDTH

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """See ``FeatureExtractor``. Pictures are rounded to 8 bits, as the network takes them."""
        network = _inception(self.file, self.antialias, stamps_of([self.file])).to(x.device)
        features: Tensor = network(to_uint8(check_range(x, "pictures")))
        return features

    def weight_files(self) -> Sequence[Path]:
        """See ``FeatureExtractor``."""
        return [self.file]

    def caution(self, prior: str) -> str:
        """See ``FeatureExtractor``."""
        return ""


@lru_cache(maxsize=1)
def _inception(file: Path, antialias: bool, stamps: tuple[Stamp, ...]) -> Any:
    """The network, once per process; its class unpickles what it is given, so it is given what was read safely."""
    from safetensors.torch import load_file
    from torchmetrics.image.fid import NoTrainInceptionV3

    safe = io.BytesIO()
    torch.save(dict(load_file(file) if file.suffix == SAFE else read_torch(file)), safe)
    safe.seek(0)
    return NoTrainInceptionV3(INCEPTION, [str(INCEPTION_WIDTH)], safe, antialias)


def _empty(kind: Any) -> Any:
    """The network without weights: its class insists on loading some, so loading does nothing meanwhile."""

    class Empty(kind):
        def load_state_dict(self, state: Any, *args: Any, **kwargs: Any) -> None:
            """Leave everything as it is."""

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    return Empty(INCEPTION, [str(INCEPTION_WIDTH)], nothing)
