"""Data sets, measurements and prompts: plain Python, listed at once and read on access."""

from treg_exp.data.base import Source, Subset, subset, text_table
from treg_exp.data.emoji_test import EmojiTest
from treg_exp.data.file_source import FileSource
from treg_exp.data.folder import ImageFolder
from treg_exp.data.manifest import read_manifest
from treg_exp.data.measurements import MeasurementFolder
from treg_exp.data.prompts import FixedPrompt, ManifestPrompt, Prompt, PromptFromCaption

__all__ = [
    "EmojiTest",
    "FileSource",
    "FixedPrompt",
    "ImageFolder",
    "ManifestPrompt",
    "MeasurementFolder",
    "Prompt",
    "PromptFromCaption",
    "Source",
    "Subset",
    "read_manifest",
    "subset",
    "text_table",
]
