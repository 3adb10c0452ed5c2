"""Readable lower-case names for emoji, from the formal Unicode names of the emoji-datasource packages."""

from __future__ import annotations

import re
import unicodedata

#: Formal names that no user would type, by codepoint sequence in lower case.
READABLE = {
    "0023-fe0f-20e3": "keycap hash",
    "002a-fe0f-20e3": "keycap asterisk",
    "1f930": "pregnant woman",
    "1f935-200d-2642-fe0f": "man wearing tuxedo",
    "1f201": "japanese here button",
    "1f202-fe0f": "japanese service charge button",
    "1f21a": "japanese free of charge button",
    "1f22f": "japanese reserved button",
    "1f232": "japanese prohibited button",
    "1f233": "japanese vacancy button",
    "1f234": "japanese passing grade button",
    "1f235": "japanese no vacancy button",
    "1f236": "japanese not free of charge button",
    "1f237-fe0f": "japanese monthly amount button",
    "1f238": "japanese application button",
    "1f239": "japanese discount button",
    "1f23a": "japanese open for business button",
    "1f250": "japanese bargain button",
    "1f251": "japanese acceptable button",
    "3297-fe0f": "japanese congratulations button",
    "3299-fe0f": "japanese secret button",
    "24c2-fe0f": "circled m",
    "1f346": "eggplant",
    "1f33d": "ear of corn",
    "1f526": "flashlight",
    "1f955": "carrot",
    "2600-fe0f": "sun",
    "260e-fe0f": "telephone",
    "2b50": "star",
    "2702-fe0f": "scissors",
    "2764-fe0f": "red heart",
    "263a-fe0f": "smiling face",
    "2660-fe0f": "spade suit",
    "2663-fe0f": "club suit",
    "2665-fe0f": "heart suit",
    "2666-fe0f": "diamond suit",
    "267b-fe0f": "recycling symbol",
    "2705": "check mark button",
    "2714-fe0f": "check mark",
    "2716-fe0f": "multiplication sign",
    "2753": "red question mark",
    "2754": "white question mark",
    "2755": "white exclamation mark",
    "2757": "red exclamation mark",
    "1f446": "backhand index pointing up",
    "1f447": "backhand index pointing down",
    "1f448": "backhand index pointing left",
    "1f449": "backhand index pointing right",
    "261d-fe0f": "index pointing up",
    "23e9": "fast forward button",
    "23ea": "rewind button",
    "23eb": "fast up button",
    "23ec": "fast down button",
    "25b6-fe0f": "play button",
    "25c0-fe0f": "reverse button",
    "1f502": "repeat single button",
    "1f501": "repeat button",
    "1f500": "shuffle button",
    "26f9-fe0f": "person bouncing ball",
}

_COUNTRY_FLAG = re.compile(r"^(?P<place>.+) flag$")
_SQUARED = re.compile(r"^(negative )?squared (latin capital letter )?(?P<label>[a-z]{1,4})( with exclamation mark)?$")
_FAMILY = re.compile(r"^(?P<head>family|kiss|couple with heart|man|woman|person): (?P<rest>.+)$")


def readable_name(formal: str, codepoint: str, subcategory: str) -> str:
    """Turn a formal name into what a person would type.

    Args:
        formal: name as the datasource gives it, such as ``KEYCAP 3`` or ``Japan Flag``.
        codepoint: the unified codepoint sequence, such as ``1F1EF-1F1F5``.
        subcategory: the datasource's subcategory, which tells country flags from other flags.

    Returns:
        A lower-case name of letters, digits, spaces and hyphens.
    """
    chosen = READABLE.get(codepoint.lower())
    if chosen:
        return chosen
    name = formal.lower().replace("’", "'")
    if subcategory in {"country-flag", "subdivision-flag"} and (flag := _COUNTRY_FLAG.match(name)):
        name = f"flag of {flag['place']}"
    elif squared := _SQUARED.match(name):
        name = f"{squared['label']} button"
    elif family := _FAMILY.match(name):
        name = _relation(family["head"], family["rest"])
    if subcategory == "sky & weather" or subcategory.startswith("hand"):
        name = re.sub(r"( symbol| sign)$", "", name)  # "full moon symbol", "thumbs up sign"
    return _plain(name)


def readable_short_name(short: str) -> str:
    """Turn a chat short code such as ``european_castle`` into words; empty where it is no phrase.

    Args:
        short: a short code of the datasource.

    Returns:
        Words separated by spaces, or ``""`` for codes such as ``+1``, ``u7121``, ``flag-jp``.
    """
    text = short.lower()
    if (
        text.startswith(("flag-", "skin-tone"))
        or not re.search(r"[a-z]{3}", text)
        or re.fullmatch(r"u[0-9a-f]{4}", text)
    ):
        return ""
    return _plain(re.sub(r"[_-]+", " ", text).rstrip("0123456789 "))


def _relation(head: str, rest: str) -> str:
    people = [part.strip() for part in rest.split(",")]
    if len(people) > 1 or head in {"family", "kiss", "couple with heart"}:
        joined = " and ".join([", ".join(people[:-1]), people[-1]]) if len(people) > 1 else people[0]
        return f"{head} of {joined}"
    return f"{head} with {rest}" if rest != "bald" else f"bald {head}"


def _plain(name: str) -> str:
    """Fold accents and drop punctuation, so that names can be typed on any keyboard."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    folded = folded.replace("&", "and").replace(",", "").replace(".", "")
    return re.sub(r"\s+", " ", re.sub(r"[^a-z0-9' -]+", " ", folded)).strip()
