"""Links: places beside the page and web pages, nothing that runs."""

from __future__ import annotations

import pytest

from orchestrator.nightly.pages.links import safe_link


@pytest.mark.parametrize(
    "address", ["canary/report.html", "../index.html", "runs/ab12/", "https://host/x?a=b:c", "http://host", "a/b:c"]
)
def test_places_beside_the_page_and_web_pages_are_links(address: str) -> None:
    assert safe_link(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)"),
        "data:text/html,x",
        *("vbscript:x", "file:///etc/passwd", "//host/x", "\\\\host\\x", "", None, 7, "\x01javascript:alert(1)"),
    ],
)
def test_nothing_else_is(address: object) -> None:
    assert safe_link(address) is None
