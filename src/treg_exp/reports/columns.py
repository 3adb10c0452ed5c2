"""What the columns of a run mean: label, unit, direction. Other columns are shown by their name."""

from __future__ import annotations

from dataclasses import dataclass

IDENTITY = ("sample_id", "variant", "draw", "prompt")


@dataclass(frozen=True)
class Column:
    """How one number is shown.

    Attributes:
        label: heading; a line break where a narrow table should break.
        unit: unit in the heading, or nothing.
        digits: digits after the decimal point.
        higher_is_better: direction, or None where there is none.
        optimised: text guidance raises this number directly.
    """

    label: str
    unit: str = ""
    digits: int = 3
    higher_is_better: bool | None = None
    optimised: bool = False

    @property
    def arrow(self) -> str:
        """Direction of improvement as a sign, or nothing."""
        return {None: "", True: "↑", False: "↓"}[self.higher_is_better]


KNOWN: dict[str, Column] = {
    "psnr": Column("PSNR", "dB", 2, higher_is_better=True),
    "ssim": Column("SSIM", "", 3, higher_is_better=True),
    "lpips": Column("LPIPS", "", 3, higher_is_better=False),
    "residual": Column("residual", "", 3, higher_is_better=False),
    "judge_own": Column("judge\nown", "", 3, higher_is_better=True),
    "judge_counterfactual": Column("judge\nother", "", 3, higher_is_better=True),
    "align_own": Column("align\nown", "", 3, higher_is_better=True, optimised=True),
    "align_counterfactual": Column("align\nother", "", 3, higher_is_better=True, optimised=True),
    "seconds": Column("s per\nimage", "", 2),
    "nfe": Column("NFE", "", 0),
}

#: Numbers of an image that belong to all of its draws together.
POSTERIOR: dict[str, Column] = {
    "posterior_std": Column("std of\ndraws", "", 3),
    "psnr_of_mean": Column("PSNR\nof mean", "dB", 2, higher_is_better=True),
}

VARIANT_LABELS = {
    "none": "no text",
    "no_text": "no text",
    "own": "own text",
    "counterfactual": "counterfactual text",
}


def column(name: str) -> Column:
    """The known column of this name, or a plain one."""
    return (KNOWN | POSTERIOR).get(name) or Column(name.replace("_", " "))


def variant_label(name: str) -> str:
    """A variant's name for people: ``no_text`` -> ``no text``."""
    return VARIANT_LABELS.get(name, name.replace("_", " "))
