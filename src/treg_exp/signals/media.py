"""The media by name."""

from __future__ import annotations

from collections.abc import Mapping

from treg_exp.errors import FieldError
from treg_exp.signals.audio import AudioMedium
from treg_exp.signals.base import Medium
from treg_exp.signals.image import ImageMedium

MEDIA: Mapping[str, type[Medium]] = {"image": ImageMedium, "audio": AudioMedium}


def medium(name: str, sample_rate: int | None = None) -> Medium:
    """The medium of a prior's signals.

    Args:
        name: a key of ``MEDIA``.
        sample_rate: of audio, in Hz.

    Raises:
        FieldError: no such medium, or audio without a sample rate.
    """
    if name not in MEDIA:
        raise FieldError("medium", name, f"must be one of {', '.join(MEDIA)}")
    return AudioMedium(sample_rate) if name == AudioMedium.name else MEDIA[name]()
