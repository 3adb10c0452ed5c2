"""The report as files, and its page in a real browser."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.findings.browsing import chromium, errors
from tests.findings.folders import COLUMNS, run
from treg_exp.cli import main
from treg_exp.errors import ConfigError
from treg_exp.findings.report import report as write_report
from treg_exp.run_layout import RunLayout


def numbers(scale: int, i: int) -> dict[str, float]:
    quality = {"psnr": 20 + scale + 0.1 * (i % 7) * scale, "lpips": 0.3 - 0.01 * scale}
    return {**quality, "residual": 1 + 0.01 * i, "judge_own": 0.1 * scale + 0.01 * i, "seconds": float(scale)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three values of guidance, 30 images each."""
    folder = tmp_path_factory.mktemp("findings")
    for scale in (1, 3, 5):
        run(folder / "runs" / f"scale_{scale}", partial(numbers, scale), 30, pictures=True, guidance__scale=scale)
    command = [sys.executable, "-m", "treg_exp.cli", "report", str(folder / "runs"), "--out", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"written: {folder / 'out' / 'report.html'}\n"
    return folder / "out"


def test_tables_for_papers_and_programs(report: Path) -> None:
    means = list(csv.DictReader((report / "tables" / "means.csv").open()))
    assert [line["method"] for line in means] == ["guidance.scale=1", "guidance.scale=3", "guidance.scale=5"]
    assert float(means[1]["lpips"]) == pytest.approx(0.27)
    differences = list(csv.DictReader((report / "tables" / "differences.csv").open()))
    psnr = next(line for line in differences if line["method"] == "guidance.scale=5" and line["metric"] == "psnr")
    assert float(psnr["difference"]) == pytest.approx(4 + 0.4 * sum(i % 7 for i in range(30)) / 30)
    assert psnr["verdict"] == "better"
    same = [line["verdict"] for line in differences if line["metric"] == "residual"]
    assert same == ["same", "same"]


def test_tables_for_readers(report: Path) -> None:
    """One cell per number, with the headings and digits of the page."""
    tex, markdown = ((report / "tables" / f"means.{ending}").read_text() for ending in ("tex", "md"))
    heads = (
        r"task & method & n & PSNR dB $\uparrow$ & LPIPS $\downarrow$ & residual $\downarrow$ & judge own $\uparrow$"
    )
    assert rf"{heads} & s per image \\" in tex
    assert r"\begin{tabular}{llrrrrrr}" in tex
    assert r"sr\_x8 & guidance.scale=3 & 30 & 23.85 [23.64, 24.07] & 0.270 [0.270, 0.270] & 1.145 [" in tex
    assert "| 5.00" in markdown  # a cost has no interval, and keeps its digits
    assert [cell.strip() for cell in markdown.splitlines()[0].split("|")][1:5] == ["task", "method", "n", "PSNR dB ↑"]
    changes = (report / "tables" / "differences.tex").read_text()
    assert r"sr\_x8 & guidance.scale=5 & LPIPS $\downarrow$ & -0.040 [-0.040, -0.040] &  & 100 \% & 30" in changes
    assert r"& better \\" in changes
    assert r"\caption{Baseline: guidance.scale=1 (sr\_x8). Means of the differences" in changes


def test_a_single_run_and_two_tasks(tmp_path: Path) -> None:
    """Nothing to compare with is no error; tasks are counted and their tables are one below another."""
    run(tmp_path / "a", lambda i: {"psnr": i})
    run(tmp_path / "b", lambda i: {"lpips": i}, task__name="sr_x16", measured=None)
    page = write_report([tmp_path], tmp_path / "out", None).page.read_text(encoding="utf-8")
    assert "24 restorations of 2 runs, 2 methods in 2 tasks." in page
    lines = (tmp_path / "out" / "tables" / "means.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [line[0] for line in cells[2:]] == ["sr_x8", "sr_x16"]
    assert cells[2][3].startswith("5.50 [")
    assert cells[2][4] == cells[3][3] == ""
    assert (tmp_path / "out" / "tables" / "differences.csv").read_text().startswith("task,method,baseline")


def test_notes_stand_on_the_page(tmp_path: Path) -> None:
    for name, task, scale in (("a", "sr_x8", 1), ("b", "sr_x8", 3), ("c", "sr_x16", 3), ("d", "sr_x16", 5)):
        run(tmp_path / name, lambda i: {"psnr": i}, guidance__scale=scale, task__name=task, measured=None)
    page = write_report([tmp_path], tmp_path / "out", "guidance.scale=1").page.read_text(encoding="utf-8")
    assert "4 methods in 2 tasks. Baseline: guidance.scale=1 (sr_x8)." in page
    assert "sr_x16 has no such baseline: its methods are not compared." in page
    assert "sr_x8: no row has a hash of its measurement" in page


def test_runs_whose_metrics_differ_are_noted(tmp_path: Path) -> None:
    for name, scale, version in (("a", 1, "1"), ("b", 3, "1"), ("c", 5, "2")):
        folder = run(tmp_path / name, lambda i: {"psnr": i}, guidance__scale=scale)
        made = {"psnr": {"version": version}, "lpips": {"version": "7"}}
        replace(COLUMNS, scored_by={f"hash{version}": made}).write(RunLayout(folder).columns)
    note = "Not all runs were scored by the same version of psnr: do not compare these numbers."
    assert note in write_report([tmp_path], tmp_path / "out").page.read_text(encoding="utf-8")
    page = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out").page.read_text(encoding="utf-8")
    assert "the same version of" not in page


def test_a_report_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match=r"^--out .*file: is a file; name a folder$"):
        write_report([tmp_path], tmp_path / "file")
    with pytest.raises(ConfigError, match=r"^--pictures -3: must be at least 0$"):
        write_report([tmp_path], tmp_path / "out", pictures=-3)


def test_a_missing_package_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "scipy" else name)
    with pytest.raises(ConfigError, match=r"^a report needs scipy: pip install 'treg_exp\[report\]'$"):
        write_report([tmp_path], tmp_path / "out")


def test_help_names_each_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("(default: ") == 3
    assert "(default: None)" not in told


def test_figures_for_papers(report: Path) -> None:
    names = {file.name for file in (report / "figures").iterdir()}
    assert {
        "effect_psnr.png",
        "effect_psnr.pdf",
        "front_judge_own_residual.pdf",
        "along_psnr_guidance.scale.png",
        "front_lpips_seconds.pdf",
    } <= names
    for file in (report / "figures").iterdir():
        assert file.read_bytes()[:4] == (b"%PDF" if file.suffix == ".pdf" else b"\x89PNG")


def test_the_page_needs_no_network(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    for tag in ("<script src", "<link ", "@import", 'src="http'):
        assert tag not in page


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Any]:
    driver = chromium()
    driver.get(f"file://{report / 'report.html'}")
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "document.querySelectorAll('.chart svg, .chart canvas').length > 3"
    ready = f"return document.querySelectorAll('#gallery figure').length == 24 && {drawn}"
    WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(ready))
    yield driver
    driver.quit()


def cells(browser: Any, table: str, column: int) -> list[str]:
    script = (
        f"return [...document.querySelectorAll('#{table} tbody tr')].map(row => row.children[{column}].textContent)"
    )
    return browser.execute_script(script)


def test_no_errors_in_the_console(browser: Any) -> None:
    assert errors(browser) == []


def test_tables_sort_by_numbers_and_filter(browser: Any) -> None:
    assert cells(browser, "table-differences", 1)[0] == "guidance.scale=3"
    heads = "document.querySelectorAll('#table-differences_wrapper thead th')"
    for sign in (1, -1):  # a click on the text of a heading, and a second one
        browser.execute_script(f"{heads}[3].querySelector('.dt-column-title').click()")
        values = [float(cell.split()[0]) for cell in cells(browser, "table-differences", 3)]
        assert values == sorted(values)[::sign]
    browser.execute_script(f"{heads}[3].querySelector('.dt-column-title').click()")  # as it was
    browser.execute_script(f"{heads}[3].querySelector('.dt-column-order').click()")
    values = [float(cell.split()[0]) for cell in cells(browser, "table-differences", 3)]
    assert values == sorted(values)
    assert min(values) < 0 < max(values)
    search = browser.execute_script(
        "return document.querySelectorAll('#table-differences thead tr.filters th')[1].querySelector('input')"
    )
    search.send_keys("scale=5")
    assert set(cells(browser, "table-differences", 1)) == {"guidance.scale=5"}


def test_the_picture_browser(browser: Any) -> None:
    def shown() -> list[str]:
        return browser.execute_script("return [...document.querySelectorAll('#gallery b')].map(b => b.textContent)")

    def set_value(name: str, value: str, event: str) -> None:
        element = f"document.getElementById({name!r})"
        browser.execute_script(f"{element}.value = {value!r}; {element}.dispatchEvent(new Event({event!r}))")

    assert shown()[0] == "image_00"
    assert browser.execute_script("return page.textContent") == "page 1 of 2"
    browser.execute_script("after.click()")
    assert shown()[0] == "image_24"
    set_value("find", "thing 7", "input")
    assert shown() == ["image_07"]
    caption = browser.execute_script("return document.querySelector('#gallery figcaption').textContent")
    assert "PSNR 21.00 dB, LPIPS 0.290, residual 1.070, judge own 0.170" in caption
    set_value("find", "", "input")
    set_value("order", "judge_own ↓", "change")
    assert shown()[0] == "image_29"
    set_value("right", "target", "change")
    images = "document.querySelectorAll('.pair')[0].querySelectorAll('img')"
    assert browser.execute_script(f"return [...{images}].map(image => image.naturalWidth)") == [32, 32]
    slider = "document.querySelector('.pair input')"
    browser.execute_script(f"{slider}.value = 80; {slider}.dispatchEvent(new Event('input'))")
    assert browser.execute_script(f"return getComputedStyle({images}[1]).clipPath") == "inset(0px 0px 0px 80%)"


def test_light_and_dark(browser: Any) -> None:
    ink = "return getComputedStyle(document.body).backgroundColor"
    letters = "return getComputedStyle(document.querySelector('.chart svg text')).fill"
    before = browser.execute_script(ink), browser.execute_script(letters)
    browser.execute_script("theme.click()")
    after = browser.execute_script(ink), browser.execute_script(letters)
    assert {before, after} == {
        ("rgb(255, 255, 255)", "rgb(27, 31, 36)"), ("rgb(20, 24, 29)", "rgb(228, 232, 238)"),
    }  # fmt: skip


def test_figures_are_those_of_the_chosen_number(browser: Any) -> None:
    """And all of them are drawn at the latest for the printer."""
    shown = "return [...document.querySelectorAll('#figures figure')].filter(f => !f.hidden).map(f => f.dataset.metric)"
    assert len(set(browser.execute_script(shown))) == 4
    blank = "[...document.querySelectorAll('#figures .charts')].map(f => f.querySelector('figure'))"
    heights = f"return {blank}.map(f => f.clientHeight - f.querySelector('svg.marks').clientHeight)"
    assert max(browser.execute_script(heights)) < 30, "nothing is blank below the figures"
    browser.execute_script("metric.value = 'lpips'; metric.dispatchEvent(new Event('change'))")
    assert set(browser.execute_script(shown)) == {"lpips"}
    browser.execute_script("metric.value = ''; metric.dispatchEvent(new Event('change'))")
    browser.execute_async_script("const done = arguments[0]; drawAll().then(() => done())")
    drawn = "return document.querySelectorAll('.chart svg.marks').length == document.querySelectorAll('.chart').length"
    assert browser.execute_script(drawn)
    assert errors(browser) == []
