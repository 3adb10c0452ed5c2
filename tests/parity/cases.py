"""What a recorded case says: its operator, texts and tolerance all come from the JSON beside the arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from tests.test_config import composed
from tests.tiny import tiny_prior
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import Masking
from treg_exp.operators.linear.separable import SeparableOperator
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.prior import Prior
from treg_exp.schedule.variance_preserving import VariancePreserving
from treg_exp.solvers.base import Solver
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy

Arrays = Mapping[str, np.ndarray]
TOLERANCE = 1e-4  # or three times what an independent replay differed by, where a case states that
STRIDE = 4  # of the pixels that the shortened cases keep

#: Keys of a JSON that tell where a case comes from and how its numbers are to be read; no value of them is used.
NOTES = {
    "system", "case", "method", "official_repository", "official_commit", "official_entry_point", "model",
    "model_description", "seed", "latent_shape", "image_range", "measurement_noise_std",
    "random_draws", "update", "conventions", "outputs", "array_layout", "precision", "arrays",
    "independent_check_max_abs_diff", "independent_check_per_array", "model_weights_sha256", "library_versions",
    "note_on_tolerance", "official_code_adaptations", "tolerance",
}  # fmt: skip


#: Keys inside of settings that are notes likewise.
NESTED_NOTES = {
    "prox.problem", "prox.solver", "pixel_optimizer.official_max_iterations", "pixel_optimizer.official_stop",
    "latent_optimizer.official_max_iterations", "latent_optimizer.official_stop",
}  # fmt: skip


class Settings(dict[str, Any]):
    """The JSON of a case, which remembers what was read of it and of the mappings in it."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__({k: Settings(v) if isinstance(v, Mapping) else v for k, v in told.items()})
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def refuse_unread(self, notes: Set[str] = frozenset()) -> None:
        """Raise ValueError for keys that decided nothing and are no notes."""
        unread = sorted(set(self) - self.read - NOTES - notes)
        for name in sorted(self.read & set(self)):
            if isinstance(inner := super().get(name), Settings):
                unread += sorted({f"{name}.{key}" for key in set(inner) - inner.read} - NESTED_NOTES)
        if unread:
            raise ValueError(f"keys that nothing reads: {', '.join(unread)}; the JSON is the only source of settings")


@dataclass
class Case:
    """One recorded run.

    Attributes:
        name: of its files.
        told: settings.
        arrays: recorded numbers.
        folder: where the model is.
    """

    name: str
    told: Settings
    arrays: Arrays
    folder: Path

    @classmethod
    def of(cls, file: Path, **changed: Any) -> Case:
        """Reads the two files; ``changed`` settings replace those of the JSON."""
        told = Settings(json.loads(file.read_text()) | changed)
        folder = next((f for f in (file.parent, file.parent.parent) if (f / "tiny_model").is_dir()), file.parent)
        return cls(file.stem, told, dict(np.load(file.with_suffix(".npz"))), folder)

    @cached_property
    def prior(self) -> Prior:
        """The model beside the vectors, whatever the case calls it."""
        if (self.folder / "image_feature_matrix.npy").exists():
            return tiny_prior(self.folder)
        return DiffusersFolder(path=str(self.folder / "tiny_model"), precision="fp32").load()

    def tensor(self, name: str) -> torch.Tensor:
        """A recorded array."""
        return torch.from_numpy(self.arrays[name])

    @property
    def image(self) -> tuple[np.ndarray, int]:
        """The recorded image, and the stride of its pixels."""
        for name in ("image", "final_image", "final"):
            if name in self.arrays:
                return self.arrays[name], 1
            if f"{name}_every_4th_pixel" in self.arrays:
                return self.arrays[f"{name}_every_4th_pixel"], STRIDE
        raise ValueError(f"{self.name}: no array image, final_image or final")

    def difference(self, image: torch.Tensor) -> float:
        """Largest difference of our image and the recorded one."""
        expected, stride = self.image
        return float(np.abs(image.numpy()[..., ::stride, ::stride] - expected).max())

    @property
    def tolerance(self) -> float:
        """The largest difference that counts as equal."""
        stated = dict.get(self.told, "independent_check_max_abs_diff", 0.0)
        return dict.get(self.told, "tolerance") or max(TOLERANCE, 3 * stated)


def files(folder: Path) -> Iterator[Path]:
    """The cases of a folder and of its ``peers``."""
    for place in (folder, folder / "peers"):
        yield from sorted(file for file in place.glob("*.json") if file.with_suffix(".npz").exists())


def system_of(file: Path) -> str:
    """What a case replays: ``treg``, ``psld``, ..."""
    told = json.loads(file.read_text())
    return str(told.get("solver") or told.get("system"))


#: Pattern of an operator's description -> what makes it, from the match, the arrays and the shape of the image.
OPERATORS: dict[str, Callable[[re.Match[str], Arrays, tuple[int, ...]], Operator]] = {
    r"bicubic downsampling x(\d+)(?!.*reflection padding)": lambda m, arrays, shape: (  # LATINO's has another edge
        BicubicDownsampling(factor=int(m[1]), signal_shape=shape)
    ),
    r"average pooling over disjoint (\d+)x\1 blocks": lambda m, arrays, shape: AveragePooling(
        factor=int(m[1]), signal_shape=shape
    ),
    r"pixelwise multiplication by array mask": lambda m, arrays, shape: Masking(
        torch.from_numpy(arrays["mask"]).reshape(1, 1, *shape[1:])
    ),
    r"gaussian blur, sigma ([\d.]+), (\d+) taps, (zero|reflect|symmetric|circular) boundary": lambda m, arrays, shape: (
        GaussianBlur(sigma=float(m[1]), kernel_size=int(m[2]), signal_shape=shape, boundary=m[3])
    ),
    r".*clip\(([\d.]+) ?\*? ?x, ?-1, ?1\)": lambda m, arrays, shape: HighDynamicRange(float(m[1]), shape),
}


def operator_of(told: Any, arrays: Arrays, shape: tuple[int, ...]) -> Operator:
    """The operator: a recorded matrix, a description in words, or a mapping with `_target_` as in ``conf/task``."""
    if isinstance(told, Mapping):
        return instantiate({key: told[key] for key in told}, signal_shape=shape)
    if "operator_matrix_1d" in arrays:  # y = R x R^T on every channel
        matrix = torch.from_numpy(arrays["operator_matrix_1d"])
        return SeparableOperator(matrix, matrix)
    for pattern, make in OPERATORS.items():
        if found := re.match(pattern, told, re.IGNORECASE):
            return make(found, arrays, shape)
    raise ValueError(f"operator {told!r}: not known; add its description to tests/parity/cases.py, or use _target_")


def compat(name: str) -> Solver:
    """conf/solver/<name>.yaml."""
    return instantiate(composed(f"solver={name}").solver, _convert_="all")


def policy_of(told: Settings) -> TextPolicy:
    """Classifier-free guidance between the prompt and a fixed null text; scale 1 is the prompt alone."""
    return TextPolicy(ConstantGuidance(float(told["guidance_scale"])), FixedNullText(told["negative_prompt"]))


@dataclass(frozen=True)
class Strided(VariancePreserving):
    """The timesteps of released samplers, which round the stride down where our `leading` spreads them."""

    stride: int = 1

    def timesteps(self, steps: int) -> list[int]:
        return [k * self.stride + self.steps_offset for k in reversed(range(steps))]

    @property
    def all_steps(self) -> int:
        """Those of CompVis, range(0, T, stride), may be some more than were asked for."""
        return len(range(0, len(self.alphas_cumprod), self.stride))


def strided(prior: Prior, asked: int) -> tuple[Prior, Strided]:
    """The prior with a stride of T // ``asked``, and its schedule."""
    schedule = prior.info.schedule
    assert isinstance(schedule, VariancePreserving)
    assert schedule.spacing == "leading"
    given = {field.name: getattr(schedule, field.name) for field in fields(VariancePreserving)}
    made = Strided(**given, stride=len(schedule.alphas_cumprod) // asked)
    return replace(prior, info=replace(prior.info, schedule=made)), made


def of_compvis(prior: Prior, told: Settings) -> tuple[Prior, int]:
    """The prior with the timesteps that ``num_inference_steps`` asks for, and how many they are."""
    asked = told["num_inference_steps"]
    prior, schedule = strided(prior, asked)
    if (stated := told.get("actual_number_of_steps", schedule.all_steps)) != schedule.all_steps:
        raise ValueError(f"actual_number_of_steps {stated}: num_inference_steps {asked} gives {schedule.all_steps}")
    return prior, schedule.all_steps
