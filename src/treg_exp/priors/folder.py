"""A prior's folder in diffusers layout: which files there must be, and what to do where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from treg_exp.errors import FieldError
from treg_exp.priors import families
from treg_exp.priors.families.base import Family
from treg_exp.priors.families.image_tower import PREPROCESSOR, TOWER, tower_network
from treg_exp.priors.folder_files import architecture_of, stem_of, weight_files
from treg_exp.priors.named import download_command
from treg_exp.priors.tokenizers import SETTINGS, VOCABULARIES, vocabulary_of


def complete_folder(folder: Path, path: str, family: Family, image_encoder: bool = False) -> None:
    """Check that a folder has everything that its kind of prior needs.

    Args:
        folder: in diffusers layout.
        path: what the user gave, for messages.
        family: its kind.
        image_encoder: whether its ``image_encoder/`` will be loaded and has to be complete, too.

    Raises:
        FieldError: files are missing; the message lists them and says what to do.
    """
    if missing := _missing(folder, family, image_encoder):
        without = "; image_encoder=false goes without its files" if missing[-1].startswith(f"{TOWER}/") else ""
        raise FieldError(
            "path",
            path,
            f"not a complete diffusers folder, missing {', '.join(missing)}. "
            f"Download them with {download_command('OWNER/MODEL', path)}{without}",
        )


def family_of(folder: Path, path: str) -> Family:
    """The kind of prior in a folder, told by the class of its denoiser.

    Raises:
        FieldError: no denoiser, or one of a kind that is not supported.
    """
    kinds: dict[tuple[str, str], Family] = {}
    for module in iter_modules(families.__path__):
        family = import_module(f"{families.__name__}.{module.name}")
        if hasattr(family, "DENOISER"):
            kinds[family.DENOISER] = family
    known = sorted({name for _, name in kinds})
    for part in sorted({part for part, _ in kinds}):
        if (folder / part / "config.json").is_file():
            name = architecture_of(folder / part)
            if (part, name) not in kinds:
                raise FieldError("path", path, f"{part}/config.json is of a {name}; supported are {', '.join(known)}")
            return kinds[part, name]
    if (folder / "config.json").is_file() and (flat := {n: p for p, n in kinds}.get(architecture_of(folder))):
        moves = f"move config.json and the weights into {flat}/ and scheduler_config.json into scheduler/"
        raise FieldError("path", path, f"the network lies in the folder itself; {moves}")
    # Nothing tells the kind: complain as about the commonest, whose message lists what is missing.
    return next(family for (_, name), family in kinds.items() if name == "UNet2DConditionModel")


def complete_tower(home: Path, named: object) -> None:
    """FieldError unless the image tower of another prior, which ``image_encoder`` names, has all of its files."""
    if missing := _missing_of_tower(home):
        raise FieldError("image_encoder", named, f"is not complete, missing {', '.join(missing)}")


def _missing(folder: Path, family: Family, tower: bool) -> list[str]:
    """Files that a prior needs and that are not there, relative to its folder; those of the image tower come last."""
    found = _missing_networks(folder, family.networks(folder))
    for part in family.tokenizers(folder):
        if not (folder / part / SETTINGS).is_file():
            found.append(f"{part}/{SETTINGS}")
        if vocabulary_of(folder / part) is None:
            found.append(f"{part}/{VOCABULARIES[0][0]}")
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        found.append("scheduler/scheduler_config.json")
    return found + (_missing_of_tower(folder) if tower else [])


def _missing_of_tower(folder: Path) -> list[str]:
    found = _missing_networks(folder, tower_network(folder))
    if not (folder / TOWER / PREPROCESSOR).is_file():
        found.append(f"{TOWER}/{PREPROCESSOR}")
    return found


def _missing_networks(folder: Path, networks: Mapping[str, str]) -> list[str]:
    found = []
    for part, network in networks.items():
        if not (folder / part / "config.json").is_file():
            found.append(f"{part}/config.json")
        if weight_files(folder / part, network) is None:
            found.append(f"{part}/{stem_of(network)}.safetensors{_instead(folder / part)}")
    return found


def _instead(part: Path) -> str:
    """What is there in place of the weights, in brackets."""
    if other := sorted(file.name for file in part.glob("*.safetensors")):
        return f" (or its .fp16 or .bf16, whole or all shards of an index; there is only {', '.join(other[:3])})"
    return " (its .bin is a pickle and not read)" if any(part.glob("*.bin")) else ""
