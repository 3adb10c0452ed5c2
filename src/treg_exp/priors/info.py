"""What is known of a prior before its weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from treg_exp.errors import FieldError
from treg_exp.priors.embedding import TextLayout
from treg_exp.priors.texts.window import TextWindow
from treg_exp.schedule.levels import Kind, Move, Schedule, check_moves


@dataclass(frozen=True)
class PriorInfo:
    """Sizes, widths and noise levels of a prior.

    Attributes:
        medium: ``image`` or ``audio``: how its signals are loaded, saved and shown.
        signal_shape: native shape of one signal, such as (3, 512, 512) or (1, 4096).
        latent_channels: channels of a latent.
        factor: ratio of the sides of a signal and of its latent.
        multiple: sides of a signal must be multiples of this.
        schedule: noise levels of the denoiser.
        kind: what its network's output means.
        text_layout: what a text embedding is made of; None for a prior without text.
        feature_width: width of the image features; None without an image-text encoder.
        sample_rate: of audio, in Hz; None for other media.
        longest_side: sides of a signal may not be longer than this; None where the networks set no limit.
        text_windows: how much of a text its tokenizers read; what is not known is not reported.
    """

    medium: str
    signal_shape: tuple[int, ...]
    latent_channels: int
    factor: int
    multiple: int
    schedule: Schedule
    kind: Kind
    text_layout: TextLayout | None = None
    feature_width: int | None = None
    sample_rate: int | None = None
    longest_side: int | None = None
    text_windows: tuple[TextWindow, ...] = ()

    def latent_shape(self, signal_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the latent of one signal, (c, h, w) or (c, t).

        Raises:
            FieldError: another number of channels or axes, a side that is too long, or one that the networks cannot
                halve as often as they do.
        """
        channels, *sides = signal_shape
        native = self.signal_shape
        if len(signal_shape) != len(native) or channels != native[0]:
            wanted = f"the prior is one of {self.medium} signals of {native[0]} channels and {len(native) - 1} axes"
            raise FieldError("signal_shape", tuple(signal_shape), wanted)
        if any(side % self.multiple for side in sides):
            told = "x".join(map(str, sides))
            raise FieldError(
                "signal_shape", told, f"does not fit the prior: sides must be multiples of {self.multiple}"
            )
        if self.longest_side is not None and max(sides) > self.longest_side:
            told = "x".join(map(str, sides))
            raise FieldError("signal_shape", told, f"does not fit the prior: sides must be at most {self.longest_side}")
        return (self.latent_channels, *(side // self.factor for side in sides))

    def moves(self, steps: int, signal_shape: Sequence[int]) -> list[Move]:
        """The moves of a sampler for signals of this shape, checked.

        Raises:
            FieldError: the schedule has no such steps, or no signal is left where a noise estimate is asked.
        """
        moves = self.schedule.moves(steps, self.latent_shape(signal_shape))
        check_moves(moves, self.kind)
        return moves
