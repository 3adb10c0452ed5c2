"""How a text is written on the command line, so that first the shell and then Hydra hand it on as it is."""

from __future__ import annotations

import re
import shlex


def quoted_override(key: str, text: str) -> str:
    """``key=text`` to be pasted into a shell (bash or zsh).

    Args:
        key: dotted name of the value.
        text: any characters; none of them means anything to the shell, Hydra or OmegaConf any more.
    """
    return shell(f"{key}={hydra_text(text)}")


def hydra_text(text: str) -> str:
    """A text as the value of an override, for Hydra alone."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(literal(text), Quote.double).with_quotes()


def shell(word: str) -> str:
    """A word as the shell takes it, in one line."""
    if not any(character < " " or character == "\x7f" for character in word):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}" for c in escaped) + "'"


def literal(text: str) -> str:
    r"""A text without an interpolation: ``${`` becomes ``\${``, and backslashes before it are doubled."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def meant(value: str) -> str:
    """The text that somebody meant by a value that Hydra cannot read: without a pair of quotes around the whole."""
    inner, quote = value[1:-1], value[:1]
    return inner if len(value) > 1 and quote in "\"'" and value[-1] == quote and quote not in inner else value
