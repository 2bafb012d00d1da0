"""The docs are true: files that they name are there, and docs/recipe.md has every key of a recipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.nightly_section import NightlySpec
from orchestrator.recipe.search import KINDS
from orchestrator.recipe.sections import DataSpec, EngineSpec, ModelSpec, OptimSpec, TaskSpec, TrackingSpec
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.places import ROOT

WITHDRAWN = {"0015-the-last-layer-where-answers-are.md"}  # tells of files that are gone
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(
    r"`([\w./-]+\.py)(?:::\w+)?`|\]\(([\w./-]+)(?:#[\w-]*)?\)|`((?:orchestrator|d2lora|tests|benchmarks|jobs)/[\w./-]*)`"
)
SECTIONS = {
    "model": ModelSpec,
    "data": DataSpec,
    "optim": OptimSpec,
    "engine": EngineSpec,
    "cluster": ClusterSpec,
    "tracking": TrackingSpec,
}


def is_there(name: str, page: Path, files: set[str]) -> bool:
    """Whether the name means a file or folder: from the root, beside the page, or by the end of its path."""
    if (ROOT / name).exists() or (page.parent / name).exists():
        return True
    return any(f"/{file}".endswith(f"/{name}") for file in files)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in WITHDRAWN], ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    roots = ("orchestrator", "d2lora", "jobs", "tests", "benchmarks", "docs")
    files = {str(file.relative_to(ROOT)) for root in roots for file in (ROOT / root).rglob("*.py")}
    names = {name for match in NAMED.findall(page.read_text()) for name in match if name}
    assert not {name for name in names if not is_there(name, page, files)}


def rows_of(page: str, heading: str) -> dict[str, str]:
    """Return key -> default of the table below a heading."""
    section = page.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [re.match(r"\| (.+?) \| (.+?) \|", line) for line in section.splitlines() if line.startswith("| `")]
    return {key: row[2] for row in rows if row for key in re.findall(r"`(\w+)`", row[1])}


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_the_page_of_recipes_has_every_key_of_a_section_with_its_default(section: str) -> None:
    rows = rows_of((ROOT / "docs" / "recipe.md").read_text(), f"`{section}`")
    fields = SECTIONS[section].model_fields
    defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    assert {key: yaml.safe_load(shown.strip("`")) for key, shown in rows.items()} == {
        key: yaml.safe_load(str(default)) if isinstance(default, float) else default
        for key, default in defaults.items()
    }


def flat(section: type[Frozen], before: str = "") -> dict[str, object]:
    """Return the defaults of a section by dotted key, without those of sections within it as a whole."""
    defaults: dict[str, object] = {}
    for key, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Frozen):
            defaults |= flat(inner, f"{before}{key}.")
        else:
            defaults[f"{before}{key}"] = field.get_default(call_default_factory=True)
    return defaults


def test_the_page_of_recipes_has_every_key_of_a_night_with_its_default() -> None:
    section = (ROOT / "docs" / "recipe.md").read_text().split("## `nightly`", 1)[1]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", section, re.MULTILINE))
    assert {key: yaml.safe_load(shown) for key, shown in rows.items()} == flat(NightlySpec)


def test_the_page_of_recipes_has_every_key_at_the_top_of_a_task_and_of_a_search() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text()
    top = set(rows_of(page, "At the top")) | set(SECTIONS) | {"search", "nightly"}
    assert top == set(SweepSpec.model_fields)
    assert set(rows_of(page, "An entry of `tasks`")) == set(TaskSpec.model_fields)
    section = page.split("## `search`", 1)[1]
    for kind, keys in KINDS.items():
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{kind}`")]
        for key, field in keys.model_fields.items():
            wanted = key if field.default is PydanticUndefined else f"{key}: {field.default}"
            assert key == "kind" or wanted in row
