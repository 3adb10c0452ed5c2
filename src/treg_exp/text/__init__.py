"""What text does to a step: guidance and null-text rules."""

from treg_exp.text.guidance import ConstantGuidance, Guidance, Guided
from treg_exp.text.null_text import AdaptiveNegation, FixedNullText, NullText
from treg_exp.text.policy import TextPolicy

__all__ = [
    "AdaptiveNegation",
    "ConstantGuidance",
    "FixedNullText",
    "Guidance",
    "Guided",
    "NullText",
    "TextPolicy",
]
