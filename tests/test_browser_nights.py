"""A night's page and the trend page in a real headless browser: alone, on a phone, by keyboard, in the dark.

``D2LORA_PICTURES=DIR`` keeps the pictures that the docs show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from orchestrator.nightly.pages.write import write_pages
from tests.helpers.browser import (
    DRIVER,
    PROGRAM,
    WITHOUT,
    colour,
    in_the_dark,
    keep,
    problems,
    whole_again,
    wide_on_a_phone,
)
from tests.helpers.nights import bad_night, story
from tests.orchestrator.nightly.pages.test_night_page import hostile_night

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (PROGRAM and DRIVER), reason=WITHOUT)]
NARROW = 320
PAGES = {"night": "2026-11-28/index.html", "nights": "index.html"}


def written(place: Path, content: dict[str, Any], nights: int) -> Path:
    write_pages(place, content, story(nights))
    return place


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_alone_and_reads_on_a_phone_by_keyboard_and_in_the_dark(
    name: str, browser: Chrome, tmp_path: Path
) -> None:
    place = written(tmp_path / "nights", bad_night(), 120)
    browser.get((place / PAGES[name]).as_uri())
    assert browser.find_element(By.TAG_NAME, "h1").text
    assert browser.find_elements(By.CSS_SELECTOR, "svg polyline.value")
    assert not problems(browser)  # nothing is fetched, nothing is missing
    keep(browser, f"{name}.png", tmp_path, {"night": 2600, "nights": 1700}[name])

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.current_url.endswith(("#verdict", "#nights"))
    for details in browser.find_elements(By.TAG_NAME, "summary")[:2]:
        details.send_keys(Keys.ENTER)  # a closed part opens by keyboard
        assert browser.execute_script("return arguments[0].parentNode.open", details)

    for details in browser.find_elements(By.TAG_NAME, "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert wide_on_a_phone(browser, NARROW) <= NARROW  # nothing sticks out of the narrowest phone's page
    whole_again(browser)
    light = colour(browser)
    in_the_dark(browser)
    assert colour(browser) != light


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_runs_nothing_and_keeps_within_a_phone(name: str, browser: Chrome, tmp_path: Path) -> None:
    long = "a_name_without_a_place_to_break" * 8
    content = hostile_night() | {"line": long, "name": long}
    content["cells"].append(content["cells"][0] | {"task": long, "method": long, "status": "worse", "command": long})
    place = written(tmp_path / "nights", content, 3)
    browser.get((place / PAGES[name]).as_uri())
    assert not problems(browser)
    assert not browser.find_elements(By.CSS_SELECTOR, "script, img")
    assert wide_on_a_phone(browser, NARROW) <= NARROW


def test_the_pages_lead_to_each_other(browser: Chrome, tmp_path: Path) -> None:
    rows = story(3)
    place = tmp_path / "nights"
    (place / rows[-1]["night"]).mkdir(parents=True)
    (place / rows[-1]["night"] / "index.html").write_text("<title>the night before</title>")
    write_pages(place, bad_night(), rows)
    browser.get((place / "index.html").as_uri())
    browser.find_element(By.LINK_TEXT, "Night of 2026-11-28").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "Night of 2026-11-28"
    browser.find_element(By.LINK_TEXT, "← night of 2026-11-27").click()
    assert browser.title == "the night before"
    browser.back()
    browser.find_element(By.LINK_TEXT, "all nights").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "quickstart: nights"
