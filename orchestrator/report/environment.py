"""The environment of all templates of pages: values are escaped, a missing value fails, numbers are as people read."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator import wording

TEMPLATES = Path(__file__).with_name("templates")
"""The folder with the report's templates, and with the style sheet of every page."""
FILTERS = ("percent", "points", "number", "between", "between_points", "p_value", "rate", "count", "listed")


def environment(*folders: Path) -> Environment:
    """Return an environment that looks for a template in ``folders``, in their order."""
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({name: getattr(wording, name) for name in FILTERS})
    return made
