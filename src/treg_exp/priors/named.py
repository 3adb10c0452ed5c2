"""Where a prior lies that is given by a name or a path, and what to do where nothing is there."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from treg_exp.errors import FieldError
from treg_exp.priors.folder_files import INDEX
from treg_exp.priors.tiny import TINY, tiny_random

NAMES = f"emoji64, emoji64_pixel, {TINY}"  # of priors that ship or are made on first use


def prior_path(path: str) -> Path:
    """The folder that a name or path means.

    Args:
        path: a folder, the name of a prior that ships with the package (``emoji64``), or ``tiny_random``, which is
            generated on first use (see ``tiny.py``).

    Raises:
        FieldError: no such folder; the message says what to do.
    """
    if not isinstance(path, str) or not path.strip():
        raise FieldError("path", path, f"must be a folder, or the name of a shipped prior ({NAMES})")
    if path == TINY:
        return tiny_random()
    shipped = Path(str(files("treg_exp") / "assets" / path))
    folder = shipped if (shipped / INDEX).is_file() else Path(path).expanduser()
    if not folder.is_dir():
        raise FieldError("path", path, _no_folder(path, folder))
    if snapshots := sorted(map(str, folder.glob("snapshots/*/"))):
        raise FieldError(
            "path", path, f"is a model in the hub's cache; give one of its snapshots: {', '.join(snapshots)}"
        )
    return folder


def download_command(repository: str, folder: str) -> str:
    """The command, and what to do about gated models."""
    patterns = " ".join(f"--include '{pattern}'" for pattern in ("*.json", "*.txt", "*/*.safetensors"))
    return (
        f"`hf download {repository} {patterns} --local-dir {folder}` (for a gated model accept its "
        "licence on its page and run `hf auth login` first)"
    )


def _no_folder(path: str, folder: Path) -> str:
    if folder.is_file():
        return (
            "is a single file; convert it to a folder with diffusers, "
            f"StableDiffusionPipeline.from_single_file({path!r}).save_pretrained('FOLDER'), and give the folder"
        )
    message = (
        "no such folder; give a folder in diffusers layout (vae/, unet/, text_encoder/, tokenizer/, scheduler/) or the "
        f"name of a shipped prior ({NAMES})"
    )
    if _may_be_of_the_hub(path):
        message += (
            f". Nothing is downloaded on the way: if {path} is a repository of the hub, download it with "
            f"{download_command(path, path.rsplit('/', 1)[-1])}"
        )
    elif "/" in path:
        message += f". To fill it, download a model with {download_command('OWNER/MODEL', path)}"
    return message


def _may_be_of_the_hub(path: str) -> bool:
    """Whether a path reads like OWNER/MODEL and its first part is no folder here, as that of models/sd15 often is."""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", path) is not None and not Path(path).parent.is_dir()
