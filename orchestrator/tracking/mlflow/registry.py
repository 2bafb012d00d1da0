"""Champions in MLflow's registry: one version per champion, the newest under an alias."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ALIAS = "champion"


def register_champion(
    client: Any, name: str, tags: Mapping[str, str], place: Path, run_id: str | None, server: bool
) -> None:
    """Register the directory ``place`` of the run ``tags["run_key"]`` as ``name``, unless this very champion is there.

    A server refuses a directory of another machine as a source. So a server gets the evaluation, as an artefact of the
    champion's run, and the directory as the tag ``place``. The weights are not uploaded.
    """
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    current, source = _current(client, name), place.as_uri()
    same = current and current.tags.get("run_key") == tags["run_key"]
    if same and source in (current.source, current.tags.get("place")):
        return
    if server:
        client.log_artifact(run_id, str(place / "evaluation.json"), ALIAS)
        source, tags = f"runs:/{run_id}/{ALIAS}", {**tags, "place": place.as_uri()}
    version = _same(client, name, source, tags) or client.create_model_version(
        name, source, run_id=run_id, tags=dict(tags)
    )
    client.set_registered_model_alias(name, ALIAS, version.version)


def _same(client: Any, name: str, source: str, tags: Mapping[str, str]) -> Any:
    """Return the version of this very champion: its creation may have lost its answer, or the alias gone elsewhere."""
    versions = client.search_model_versions(f"name = '{name}'")
    same = [one for one in versions if one.source == source and tags.items() <= one.tags.items()]
    return max(same, key=lambda one: int(one.version), default=None)


def _current(client: Any, name: str) -> Any:
    """Return the version that has the alias; None where no version has it."""
    aliases = client.get_registered_model(name).aliases
    return client.get_model_version(name, aliases[ALIAS]) if ALIAS in aliases else None
