"""A real browser without a window, for the pages of reports."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def chromium(width: int = 1300, height: int = 900) -> Any:
    """The driver of a new browser, whose console is kept; the test is left out where there is none."""
    if not (BROWSER and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER, env=dict(os.environ)))


def errors(browser: Any) -> list[Any]:
    """What went wrong in the page."""
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
