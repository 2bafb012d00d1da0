"""Kubernetes objects against the schemas of their definitions: a key that a schema does not name is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = "crds"


@cache
def schema_of(folder: Path, kind: str) -> dict[str, Any]:
    """Return the schema of a kind of Ray, as JSON schema that refuses unknown keys."""
    text = (folder / f"ray.io_{kind.lower()}s.yaml").read_text()
    definition = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    version = next(one for one in definition["spec"]["versions"] if one["name"] == "v1")
    strict = _strict(version["schema"]["openAPIV3Schema"])
    assert isinstance(strict, dict)
    strict["properties"]["metadata"] = {"type": "object"}
    return strict


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """Return place and message of each fault."""
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(schema).iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(below) for below in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: _strict(below) for key, below in schema.items()}
    closed = schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields")
    if closed and isinstance(copied.get("properties"), dict):
        copied.setdefault("additionalProperties", False)
    return copied
