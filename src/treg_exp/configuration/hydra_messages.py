"""One line for what Hydra and OmegaConf say about a command: what is wrong, what there is, what was meant."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from treg_exp.configuration.folder import CONF, config_folder
from treg_exp.configuration.group_options import is_own_group
from treg_exp.configuration.keys import COLLECTIONS
from treg_exp.errors import nearest
from treg_exp.quoting import meant, quoted_override

# What Hydra reads as no text, and so as no option of a group.
_NO_TEXT = re.compile(r"null|true|false|[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)


_KEY = re.compile(r"[+~]{0,2}[\w./@$:-]+")


def explain(error: Exception, overrides: list[str]) -> str:
    """One line for an error of Hydra or OmegaConf."""
    message = str(error)
    absent = r"Could not find '([^']+)/([^'/]+)'(?:\s+Available options in '[^']+':(.*))?"
    if option := re.search(absent, message, re.S):
        path, wrong, listed = option.groups()
        known = (listed or "").split("Config search path")[0].split()
        group = _group(f"{path}/{wrong}", overrides) or path
        folder = path.removeprefix(group).strip("/")
        if folder:  # as in experiment=best/treg_sr_x8, whose neighbours the message does not name
            known = [f"{folder}/{file.stem}" for file in sorted((_conf() / group / folder).glob("*.yaml"))] or known
            wrong = f"{folder}/{wrong}"
        elif (_conf() / group).is_dir():
            known = _options(group)
        return f"{group}={wrong}: no such option{nearest(wrong, known) or '.'} Available: {', '.join(known)}"
    if key := re.search(r"Could not override '([^']+)'", message):
        return _unknown_key(key.group(1), overrides)
    if type(error).__name__ == "OverrideParseException" or "Ambiguous value" in message:
        given = next((o for o in overrides if o in message), getattr(error, "override", message))
        if re.fullmatch(r"[^=]+=[\w./-]+(,[\w./-]+)+", given):
            return f"{given}: several values need -m, which makes a run of each"
        return _unreadable(given)
    message = message.partition("Config search path:")[0] or str(error.__cause__ or error.__context__ or "")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if "Incompatible key type 'NoneType'" in message and (place := re.search(r"full_key: (\S+)", message)):
        lines = [f'{place.group(1)}: a key below is null, which is no text in YAML; write it in quotes, "null":']
    file = _local(error, "load_config", "full_path")  # none of these messages names the file
    return (f"{file}: " if file else "") + " ".join(lines[:2]) if lines else type(error).__name__


def explain_plain(error: Exception, overrides: list[str]) -> str | None:
    """One line for an error that Hydra raises without a class of its own; None for any other."""
    if str(error).startswith("Only one of --run, --multirun, --cfg"):
        return "-m (--multirun), --cfg and --info exclude each other: `--cfg job` shows a single job"
    if str(error).startswith("Config group override must be a string"):
        return _no_option(overrides)
    if given := _local(error, "_apply_overrides_to_config", "override"):
        return f"{given.input_line}: Hydra cannot put it into what is null; set it in a YAML file, see --config-dir"
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | RecursionError) and (
        file := _local(error, "load_config", "full_path")
    ):
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        return f"{file}: no valid YAML: {place}{said}"
    if isinstance(error, OSError) and error.filename and {"-m", "--multirun"} & set(overrides):
        return f"{error.filename}: {str(error.strerror).lower()}; choose another run_dir"
    return None


def _local(error: BaseException, function: str, name: str) -> Any:
    """What Hydra was reading when an error was raised, which many errors do not say: a variable of its function."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == function and name in frame.f_locals:
            return frame.f_locals[name]
    return None


def _unreadable(given: str) -> str:
    """The message for a value that Hydra's grammar does not know, mostly a text."""
    key, equals, value = given.partition("=")
    shown = " ".join(given.split())
    if (readable := shown.encode(errors="backslashreplace").decode()) != shown:
        return f"{readable}: is no valid UTF-8; use a terminal, or save the script, in UTF-8"
    if not equals or not _KEY.fullmatch(key):
        return f"{shown}: cannot be read; an override is key=value, +key=value to add one or ~key to leave one out"
    hint = "; without the backslash, ${ begins another value" if "${" in value else ""
    return f"{shown}: cannot be read. A text with such characters is written {quoted_override(key, meant(value))}{hint}"


def _group(option: str, overrides: list[str]) -> str | None:
    """The group that the user wrote: that of solver/prox/x is solver/prox or, as in experiment=best/x, a part of it."""
    for override in overrides:
        group, _, values = override.lstrip("+").partition("=")
        if option in [f"{group}/{value}" for value in values.split(",")]:
            return group
    return None


def _no_option(overrides: list[str]) -> str:
    """The message for a group that was given null, a number or true, which Hydra does not name."""
    for override in overrides:
        group, _, values = override.lstrip("+").partition("=")
        if (_conf() / group).is_dir() and (wrong := [v for v in values.split(",") if _NO_TEXT.fullmatch(v)]):
            leave_out = f" ('~{group}' leaves it out)" if group in COLLECTIONS else ""
            known = ", ".join(_options(group))
            return f"{group}={wrong[0]}: a group needs one of its options{leave_out}. Available: {known}"
    return "a group needs one of its options, see --help"


def _options(group: str) -> list[str]:
    """Names of the options of a group; of folders of further ones only the name."""
    folder = _conf() / group
    files = sorted(folder.glob("*.yaml"))
    parts = {d.name for d in folder.iterdir() if d.is_dir() and not is_own_group(group, d.name, [_conf()])}
    return [*(file.stem for file in files), *(f"{name}/..." for name in sorted(parts))]


def _unknown_key(key: str, overrides: list[str]) -> str:
    """The message for a key that the configuration does not have, with the nearest one that it has."""
    leaf = key.rsplit(".", 1)[-1]
    keys = known_keys([o for o in overrides if not o.lstrip("+~").startswith(key + "=")])
    if key in keys:
        return f"{key}: has no such fields; add one with +{key}.<field>=<value>"
    group, _, folder = key.partition("/")
    if folder and (_conf() / key).is_dir() and f"{folder}/..." in _options(group):  # experiment/best=x
        return f"{key}: a folder of options; write {group}={folder}/<option>"
    if key.startswith("variants."):
        add = f"'+{leaf}@{key}=<option>'" if (_conf() / leaf).is_dir() else f"+{key}=<value>"
        return f"{key}: the variant does not have it yet; add it with {add}"
    if others := _options_with(key):
        return f"{key}: no such key with this option of the group, but with {' or '.join(others)}"
    keys = [k for k in keys if not k.rsplit(".", 1)[-1].startswith("_")]
    siblings = [k for k in keys if k.rpartition(".")[0] == key.rpartition(".")[0]]
    same_leaf = [k for k in keys if k.rsplit(".", 1)[-1] == leaf]
    hint = f"; did you mean {same_leaf[0]}?" if same_leaf else nearest(key, siblings) or nearest(key, keys)
    return f"{key}: no such key{hint or '.'} `--cfg job` prints all keys."


def _options_with(key: str) -> list[str]:
    """The options of a group that have a key such as prompt.text, those first that ask for its value."""
    group, _, leaf = key.partition(".")
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted((_conf() / group).glob("*.yaml"))}
    having = [name for name, text in texts.items() if re.search(rf"^{re.escape(leaf)}:", text, re.MULTILINE)]
    return [f"{group}={name}" for name in sorted(having, key=lambda name: f"\n{leaf}: ???" not in texts[name])]


def known_keys(overrides: list[str]) -> list[str]:
    """Dotted keys and group names of the configuration with these overrides (those that fail are left out)."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    folder = _conf()
    groups = [d.name for d in folder.iterdir() if d.is_dir()] if folder.is_dir() else []
    choices = [o for o in overrides if o.partition("=")[0] in groups]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            config = OmegaConf.to_container(compose("config", overrides=choices), resolve=False)
    except Exception:  # the hint is a courtesy: a second mistake must not hide the first
        return groups
    return [*groups, *_dotted(config)]


def _conf() -> Path:
    """The folder of the configuration: beside the program that runs, else the package's."""
    beside = Path(sys.argv[0]).resolve().parent / CONF
    return beside if (beside / "config.yaml").is_file() else config_folder()


def _dotted(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    names = [f"{prefix}{name}" for name in node]
    return names + [child for name in node for child in _dotted(node[name], f"{prefix}{name}.")]
