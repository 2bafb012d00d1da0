"""Pure: what a sweep was made from, in a tracker's terms: its data sets and its base, from ``sweep.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

DIGEST = 32  # of a sha256's 64 digits; MLflow keeps 36


class DataSet(NamedTuple):
    """One task's data as trained and tested on; ``source`` and ``profile`` are JSON, as MLflow wants them."""

    name: str
    digest: str
    source_type: str
    source: str
    profile: str


class BaseModel(NamedTuple):
    """The frozen base; ``digest`` begins its fingerprint."""

    name: str
    digest: str
    params: dict[str, str]


def data_sets(sweep: Mapping[str, Any]) -> dict[str, DataSet]:
    """Return the data set of each task: the fingerprint of its tokens, and its split sizes; no row is read.

    The source is the command that prepares it: what a run reads are tokens, made from rows that were split, checked
    for duplicates and cut, and no address holds those.
    """
    made = {"mlflow.source.name": sweep["command"], "commit": sweep.get("commit") or "unknown"}
    return {
        task: DataSet(task, one["fingerprint"][:DIGEST], "code", json.dumps({"tags": made}), json.dumps(_sizes(one)))
        for task, one in sweep.get("data", {}).items()
    }


def _sizes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of `SplitReport`, and their sum under the name that MLflow's page shows."""
    counts = {name: value for name, value in data.items() if name != "fingerprint"}
    return {"num_rows": sum(counts[name] for name in ("train", "validation", "test")), **counts}


def base_model(sweep: Mapping[str, Any]) -> BaseModel | None:
    """Return the base, or None where sweep.json does not name it."""
    if not sweep.get("base"):
        return None
    model = sweep["recipe"]["model"]
    source = model["path"] or model["name"]
    digest = str(sweep["base"])[:DIGEST]
    plain = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in source.rstrip("/").rpartition("/")[2])
    return BaseModel(f"base-{plain}", digest, {"source": source, "fingerprint": str(sweep["base"])})
