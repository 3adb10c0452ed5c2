"""The prior of the last job of a process, kept for the next one: jobs of a sweep mostly differ in something else.

Whoever uses a prior borrows it and gives it back when all went well. Where a job has raised, its prior is dropped:
nobody knows in which state it is.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch

from treg_exp.priors.prior import Prior, PriorSpec
from treg_exp.stamps import Stamp, stamps_of


@dataclass(frozen=True)
class Loan:
    """A loaded prior, and what it was loaded from.

    Attributes:
        spec: what a configuration built.
        device: where the prior is.
        stamps: of its files, from before they were read; None where the spec does not say which files it has.
        prior: with its weights.
    """

    spec: PriorSpec
    device: torch.device
    stamps: tuple[Stamp, ...] | None
    prior: Prior

    def serves(self, spec: PriorSpec, device: torch.device, stamps: tuple[Stamp, ...] | None) -> bool:
        """Whether loading would give the same once more. Specs are the same where all their fields are equal."""
        return stamps is not None and self.stamps == stamps and self.device == device and self.spec == spec


class SharedPrior:
    """Holds one prior at most: two may not fit into memory."""

    def __init__(self) -> None:
        self._kept: Loan | None = None

    def borrow(self, spec: PriorSpec, device: torch.device) -> Loan:
        """The prior of the last job where nothing about it differs, else the loaded one.

        Args:
            spec: of the prior.
            device: where it is to be.

        Raises:
            FieldError: it cannot be loaded.
            FileError: one of its files is broken.
        """
        files = getattr(spec, "files", None)
        stamps = None if files is None else stamps_of(files)
        kept, self._kept = self._kept, None
        if kept is not None and kept.serves(spec, device, stamps):
            return kept
        if kept is not None:
            del kept
            gc.collect()  # what a job held in circles still holds its memory
        return Loan(spec, device, stamps, spec.load(device))

    def give_back(self, loan: Loan) -> None:
        """Keep a prior for the next job; one whose files nobody knows is dropped."""
        if loan.stamps is not None:
            self._kept = loan


SHARED_PRIOR = SharedPrior()  # of this process
