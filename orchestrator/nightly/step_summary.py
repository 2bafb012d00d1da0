"""Write a night's Markdown beside its page, and append it to the summary of a step of GitHub Actions."""

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

    A file that cannot be appended to is said, and is no error.
    """
    text = night_as_markdown(night)
    write_bytes(folder / NAME, text.encode())
    file = environment.get(VARIABLE, "").strip()
    if not file:
        return
    try:
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write(f"{text}\n")
    except OSError as error:
        say(f"{VARIABLE}={file} cannot be written to: {error.strerror}. The night's summary is {folder / NAME}")
