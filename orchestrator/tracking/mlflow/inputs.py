"""Pure: the inputs of a sweep as a tracker shows them: its data sets and its base, from ``sweep.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

DIGEST = 32  # digits of a sha256, which has 64; MLflow keeps 36


class DataSet(NamedTuple):
    """The prepared data of one task; ``source`` and ``profile`` are JSON, the form that MLflow wants."""

    name: str
    digest: str
    source_type: str
    source: str
    profile: str


class BaseModel(NamedTuple):
    """The base; ``digest`` is the beginning of its fingerprint."""

    name: str
    digest: str
    params: dict[str, str]


def data_sets(sweep: Mapping[str, Any]) -> dict[str, DataSet]:
    """Return the data set of each task: the fingerprint of its tokens, and its split sizes; no row is read.

    The source of a data set is the command that prepares it. A run reads tokens, made from rows that were split,
    checked for duplicates and cut, and no address holds those tokens.
    """
    made = {"mlflow.source.name": sweep["command"], "commit": sweep.get("commit") or "unknown"}
    return {
        task: DataSet(task, data["fingerprint"][:DIGEST], "code", json.dumps({"tags": made}), json.dumps(_sizes(data)))
        for task, data in sweep.get("data", {}).items()
    }


def _sizes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of `SplitReport`, and the number of rows under the name that MLflow's page shows."""
    counts = {name: value for name, value in data.items() if name != "fingerprint"}
    return {"num_rows": sum(counts[name] for name in ("train", "validation", "test")), **counts}


def base_model(sweep: Mapping[str, Any]) -> BaseModel | None:
    """Return the base; None where ``sweep.json`` does not name it."""
    if not sweep.get("base"):
        return None
    model = sweep["recipe"]["model"]
    source = model["path"] or model["name"]
    digest = str(sweep["base"])[:DIGEST]
    plain = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in source.rstrip("/").rpartition("/")[2])
    return BaseModel(f"base-{plain}", digest, {"source": source, "fingerprint": str(sweep["base"])})
