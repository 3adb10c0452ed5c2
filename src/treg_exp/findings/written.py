"""Tables as files: CSV for programs, Markdown and LaTeX (booktabs) for readers."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.files import write_text

if TYPE_CHECKING:
    from pandas import DataFrame

#: What LaTeX reads otherwise.
SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "\"": r"\textquotedbl{}", "\n": " ",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "×": r"$\times$", "±": r"$\pm$", "−": "$-$",
    "σ": r"$\sigma$", "λ": r"$\lambda$", "τ": r"$\tau$", "²": r"\textsuperscript{2}", "·": r"$\cdot$",
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'",
}  # fmt: skip
#: Where a line of a long name may end.
BREAKS = "/_=.,"
#: Columns of words: LaTeX sets them flush left.
WORDS = ("task", "method", "metric", "verdict")
LONG = 26  # characters of a name from which on its column is a paragraph that breaks
PARAGRAPH = "4.2cm"
#: Packages that the files need, said at their head.
NEEDS = r"% \usepackage[T1]{fontenc} \usepackage{textcomp} \usepackage{booktabs} \usepackage{graphicx}"


def write_table(name: str, numbers: DataFrame, read: DataFrame, caption: str, folder: Path, footnote: str = "") -> None:
    """Write a table.

    Args:
        name: of the files.
        numbers: the table with all digits.
        read: the same for readers, as texts.
        caption: of the LaTeX table.
        folder: where to.
        footnote: below the tables for readers.
    """
    below = f"\n{_markdown(footnote)}\n".replace("*", r"\*") if footnote else ""
    write_text(folder / f"{name}.csv", numbers.to_csv(index=False))
    write_text(
        folder / f"{name}.md", read.map(_markdown).to_markdown(index=False, disable_numparse=True) + "\n" + below
    )
    write_text(folder / f"{name}.tex", latex(name, read, f"{caption} {footnote}".strip()))


def latex(name: str, read: DataFrame, caption: str) -> str:
    """A float with the table; what LaTeX cannot set is written without its marks, or left out."""
    kinds = [_kind(heading, [str(cell) for cell in read[heading]]) for heading in read.columns]
    style = read.style.hide(axis="index")
    for heading, kind in zip(read.columns, kinds, strict=True):
        style = style.format(lambda cell, long=kind[0] == "p": tex(str(cell), breaks=long), subset=[heading])
    body = style.format_index(lambda heading: tex(str(heading)), axis=1).to_latex(
        hrules=True, column_format="".join(kinds)
    )
    table = body.strip()
    return "\n".join([
        NEEDS,
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(caption)}}}",
        rf"\label{{tab:{name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"{table}%",
        "}",
        r"\end{table}",
        "",
    ])  # fmt: skip


def _kind(heading: str, cells: list[str]) -> str:
    if heading not in WORDS:
        return "r"
    return f"p{{{PARAGRAPH}}}" if max(map(len, cells), default=0) > LONG else "l"


def tex(text: str, breaks: bool = False) -> str:
    """A text as LaTeX with inputenc's plain letters; with ``breaks`` a line may end within a long word."""
    found = []
    for sign in text:
        if sign in SIGNS:
            found.append(SIGNS[sign])
        elif sign.isascii():
            found.append(sign)
        else:
            plain = unicodedata.normalize("NFKD", sign)
            found.append(sign if sign in LATIN else "".join(part for part in plain if part.isascii()) or "?")
        if breaks and sign in BREAKS:
            found.append(r"\allowbreak{}")
    return "".join(found)


#: Letters that pdfLaTeX sets with fontenc T1.
LATIN = frozenset("äöüÄÖÜßéèêëÉÈàâáåÅæÆøØñÑçÇîïíìôóòúùûšŠžŽčČřłŁ")


def _markdown(cell: object) -> str:
    return str(cell).replace("|", r"\|").replace("\n", " ")
