"""A real headless Chromium for tests that look at pages, and what they ask of every page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PROGRAM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
WITHOUT = "no Chromium with its chromedriver here: apt-get install chromium chromium-driver"
WIDTH, HEIGHT, PHONE = 1280, 900, 375
ALONE = [  # no window, nothing that moves, and nobody is asked for anything
    *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"),
    *("hide-scrollbars", "force-prefers-reduced-motion"),
    *("no-first-run", "disable-sync", "disable-background-networking", "disable-component-update"),
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Within: Chromium with a profile of its own."""
    options = ChromeOptions()
    options.binary_location = str(PROGRAM)
    for word in [*ALONE, f"window-size={WIDTH},{HEIGHT}", f"user-data-dir={profile}"]:
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = Chrome(options=options, service=Service(DRIVER))
    try:
        yield opened
    finally:
        opened.quit()


def keep(browser: Chrome, name: str, place: Path, height: int) -> None:
    """Take a picture; keep it where the docs are if asked to."""
    browser.set_window_size(WIDTH, height)
    folder = Path(os.environ.get("D2LORA_PICTURES", place))
    folder.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(folder / name))
    assert (folder / name).stat().st_size > 10_000  # a blank page is a few kilobytes


def colour(browser: Chrome) -> str:
    """Return the colour of the page's ground."""
    background: str = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return background


def wide_on_a_phone(browser: Chrome, phone: int = PHONE) -> int:
    """Return how wide the page is, in CSS pixels, in a window of a phone's width; the window stays so."""
    metrics = {"width": phone, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    width: int = browser.execute_script("return document.documentElement.scrollWidth")
    return width


def whole_again(browser: Chrome) -> None:
    """Give the window its own width back."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def in_the_dark(browser: Chrome, dark: bool = True) -> None:
    """Show pages as somebody sees them who prefers them dark."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def problems(browser: Chrome) -> list[object]:
    """Return what the browser complains of: a file that is missing, a script that fails."""
    return [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
