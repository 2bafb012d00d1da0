"""Figures among a run's charts: what MLflow's pages show before anybody has chosen a chart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.tracking.mlflow.fields import apart

SHOWN = "charts"  # the tag that says which figures are among the charts
SECTION = "figures"


def show_charts(client: Any, run_id: str, files: Mapping[str, Path], step: int, time_ms: int) -> None:
    """Log pictures (by name) as image charts of a run, unless these very pictures are there.

    MLflow draws a chart of every metric and of every logged image. A name with a slash makes a section, and sections
    come in alphabetical order before "Model metrics", so these are the first thing that is seen. An artefact at a path
    of ours is no chart. ``step`` tells a later state of the sweep from an earlier one.
    """
    from PIL import Image  # MLflow's own Image leaves the file open

    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()[:16]
    if client.get_run(run_id).data.tags.get(SHOWN) == digest:
        return
    plain = apart({name: re.sub(r"[^A-Za-z0-9_. -]", "_", name) for name in files})  # MLflow refuses other letters
    for name, path in files.items():
        with Image.open(path) as picture:
            client.log_image(
                run_id, picture, key=f"{SECTION}/{plain[name]}", step=step, timestamp=time_ms, synchronous=True
            )
    client.set_tag(run_id, SHOWN, digest)
