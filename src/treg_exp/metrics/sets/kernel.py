"""KID: the squared maximum mean discrepancy of two sets of features (Bińkowski et al., arXiv 1801.01401)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.column import Column
from treg_exp.metrics.sets.base import SetMetric, SetValue
from treg_exp.metrics.sets.features import FeatureExtractor
from treg_exp.noise import generator

DEGREE, OFFSET = 3, 1.0  # of the polynomial kernel (x·y / F + 1)³
BLOCK = 1024  # rows of the kernel that are in memory at once
FEW = 200  # images: below, a standard error from subsets is itself uncertain by more than a tenth


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(n, F), (m, F) -> (n, m)."""
    return (x @ y.T / x.shape[1] + OFFSET) ** DEGREE


def squared_discrepancy(x: Tensor, y: Tensor, paired: bool = True) -> float:
    """The unbiased estimate from two sets of n, of all pairs: it may be negative where the sets are alike.

    Args:
        x: (n, F) float64.
        y: (n, F) float64.
        paired: whether row i of one belongs to row i of the other, as a restoration to its target. Then pairs (i, i)
            are left out across the sets, too (Gretton et al. 2012, eq. 4): what belongs together is more alike than
            independent pictures are, and would pull the estimate below zero. False is the estimate for independent
            sets, as published; the two differ by a term in 1 / n.
    """
    n = len(x)
    inner, across = x.new_zeros(()), x.new_zeros(())
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        for z in (x, y):
            own = kernel(z[rows], z)
            inner += own.sum() - own.diagonal(offset=start).sum()
        between = kernel(x[rows], y)
        across += between.sum() - (between.diagonal(offset=start).sum() if paired else 0)
    return float(inner / (n * (n - 1)) - 2 * across / (n * (n - 1) if paired else n * n))


class KID(SetMetric):
    """The unbiased estimate from all images, and its standard error from random subsets.

    A subset takes images together with their targets, without replacement: the standard deviation over subsets of half
    of the images is the standard error of the whole (delete-d jackknife: subsets of m of n images are multiplied by
    sqrt(m / (n - m))).

    Args:
        extractor: see ``SetMetric``. With others than Inception's it is no published KID; the heading says which.
        subsets: number of random subsets.
        subset_size: images in each; at most half of all are taken.
        seed: of the subsets.
        paired: see `squared_discrepancy`; false for the published estimate, for independent sets.

    Raises:
        FieldError: fewer than two subsets, or images in them.
    """

    def __init__(
        self,
        extractor: FeatureExtractor | None = None,
        subsets: int = 100,
        subset_size: int = 1000,
        seed: int = 0,
        paired: bool = True,
    ) -> None:
        super().__init__(extractor)
        for name, value in (("subsets", subsets), ("subset_size", subset_size)):
            if value < 2:
                raise FieldError(name, value, "must be >= 2")
        self.subsets, self.subset_size, self.seed, self.paired = subsets, subset_size, seed, paired
        self.columns: Mapping[str, Column] = {
            "kid": Column(
                f"KID\n{self.extractor.name.split(',')[0]}",
                digits=4,
                higher_is_better=False,
                of="set",
                note="KID: unbiased; ± 1.96 standard errors, by random halves of the images.",
            )
        }

    def distance(self, restored: Tensor, targets: Tensor) -> SetValue:
        """See ``SetMetric``."""
        value, count = squared_discrepancy(restored, targets, self.paired), len(restored)
        size = min(self.subset_size, count // 2)
        if size < 2:
            return SetValue(value)
        draw = generator("kid", self.seed)
        found = []
        for _ in range(self.subsets):
            chosen = torch.randperm(count, generator=draw)[:size].to(restored.device)
            found.append(squared_discrepancy(restored[chosen], targets[chosen], self.paired))
        deviation = float(torch.tensor(found, dtype=torch.float64).std())
        error = deviation * (size / (count - size)) ** 0.5
        return SetValue(value, error, {"subset_std": deviation, "subset_size": size})

    def settings(self) -> Mapping[str, object]:
        """See ``SetMetric``."""
        return {"subsets": self.subsets, "subset_size": self.subset_size, "seed": self.seed, "paired": self.paired}

    def note(self, count: int) -> str:
        """See ``SetMetric``."""
        if count >= FEW:
            return ""
        return f"KID: of {count} images its standard error is itself a rough guess; take {FEW} or more."
