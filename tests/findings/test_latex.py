"""The .tex files are compiled, with what a name may hold."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from pandas import DataFrame

from tests.findings.folders import run
from treg_exp.findings.report import report
from treg_exp.findings.written import latex, tex

DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
%s
\end{document}
"""
ODD = 'a_b & 50 % #1 {x} ~ ^ \\frac $2 <tag> |c| "q" ‘é’ 猫 ↑ → σ² – über/' + "very_long.key_with=value," * 6


def test_every_sign_is_written_so_that_latex_sets_it() -> None:
    assert tex("50 % of a_b & c") == r"50 \% of a\_b \& c"
    assert tex("↑ σ → é 猫") == r"$\uparrow$ $\sigma$ $\rightarrow$ é ?"
    assert tex("task.name=x", breaks=True) == r"task.\allowbreak{}name=\allowbreak{}x"


def compiled(folder: Path, *files: Path) -> str:
    """The log of pdfLaTeX; the test fails where it does."""
    if not shutil.which("pdflatex"):
        pytest.skip("left out: no pdflatex here (texlive-latex-base, texlive-latex-recommended)")
    inputs = "\n".join(rf"\input{{{file}}}" for file in files)
    (folder / "all.tex").write_text(DOCUMENT % inputs, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_the_tables_of_a_report_are_compiled(tmp_path: Path) -> None:
    def numbers(add: int, i: int) -> dict[str, float]:
        return {"psnr": 20 + i + add, "lpips": 0.3 - 0.01 * i, "residual": 1.0 + 0.01 * i * add, "judge_own": 0.1 * add}

    for add, name in enumerate(("plain", ODD, "50 % \\ $")):
        run(tmp_path / "runs" / f"r{add}", partial(numbers, add), guidance__name=name, variant=f"own_{add}")
    report([tmp_path / "runs"], tmp_path / "out")
    files = sorted((tmp_path / "out" / "tables").glob("*.tex"))
    assert [file.name for file in files] == ["differences.tex", "means.tex"]
    log = compiled(tmp_path, *files)
    assert "Overfull \\hbox" not in log
    assert "LaTeX Warning: Reference" not in log


def test_a_very_long_name_breaks(tmp_path: Path) -> None:
    frame = DataFrame({"method": ["guidance.scale=1 " * 12, "short"], "PSNR dB ↑": ["1.00 [0.90, 1.10]", "2.00"]})
    text = latex("long", frame, "Numbers ↑ in % of a_b")
    assert r"\begin{tabular}{p{4.2cm}r}" in text
    file = tmp_path / "long.tex"
    file.write_text(text, encoding="utf-8")
    assert "Overfull \\hbox" not in compiled(tmp_path, file)
