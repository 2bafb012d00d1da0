"""Pictures among the charts that MLflow's pages draw of a run before anybody has chosen a chart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.tracking.mlflow.fields import apart

CHARTS = "charts"  # the tag that holds a digest of the pictures among the charts
SECTION = "figures"


def show_charts(client: Any, run_id: str, files: Mapping[str, Path], step: int, time_ms: int) -> None:
    """Log pictures (by name) as image charts of a run, unless these very pictures are there.

    MLflow draws a chart of every metric and of every logged image, and of no other artefact. A name with a
    slash makes a section, and sections come in alphabetical order before "Model metrics", so these pictures are the
    first charts on the page. ``step`` tells a later state of the sweep from an earlier one.
    """
    from PIL import Image  # MLflow's own Image leaves the file open

    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()[:16]
    if client.get_run(run_id).data.tags.get(CHARTS) == digest:
        return
    plain = apart({name: re.sub(r"[^A-Za-z0-9_. -]", "_", name) for name in files})  # MLflow refuses other letters
    there = [Path(file.path) for file in client.list_artifacts(run_id, "images")]
    for name, path in files.items():
        key = f"{SECTION}/{plain[name]}"
        begin = f"{key.replace('/', '~')}+step+{step}+timestamp+{time_ms}+"  # of the names that MLflow gives an image
        if {file.suffix for file in there if file.name.startswith(begin)} == {".png", ".webp"}:
            continue  # logged by a call whose later request failed
        with Image.open(path) as picture:
            client.log_image(run_id, picture, key=key, step=step, timestamp=time_ms, synchronous=True)
    client.set_tag(run_id, CHARTS, digest)
