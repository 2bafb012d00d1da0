"""Write a night's Markdown beside its page, and put it once into the summary of a step of GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.files import write_bytes
from orchestrator.nightly.markdown import night_as_markdown
from orchestrator.say import Say

VARIABLE = "GITHUB_STEP_SUMMARY"
NAME = "summary.md"


def write_summary(
    folder: Path, night: Mapping[str, Any], say: Say, environment: Mapping[str, str] = os.environ
) -> None:
    """Write ``summary.md`` into the night's folder; append it to the file that ``GITHUB_STEP_SUMMARY`` names, if any.

    Of a night that is written again the file gets the new text in the place of the old text. A file that cannot be
    written to is said, and is no error.
    """
    own, text = folder / NAME, night_as_markdown(night)
    old = own.read_text(encoding="utf-8") if own.exists() else None
    write_bytes(own, text.encode())
    file = environment.get(VARIABLE, "").strip()
    if not file:
        return
    try:
        _put(Path(file), old, text)
    except OSError as error:
        say(f"{VARIABLE}={file} cannot be written to: {error.strerror}. The night's summary is {own}")


def _put(step: Path, old: str | None, text: str) -> None:
    """Replace the old text of the night in the summary of a step, or append the text where there is no old one."""
    before = step.read_text(encoding="utf-8") if step.exists() else ""
    if old is not None and old in before:
        step.write_text(before.replace(old, text, 1), encoding="utf-8")
    else:
        step.write_text(f"{before}{text}\n", encoding="utf-8")
