"""YAML in which every value knows its line: no duplicate keys, ``1e-4`` is a number, ``off`` and ``no`` are words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import InputError
from orchestrator.recipe.reading.interpolation import Key, hidden, shown

MAX_BYTES = 100_000  # a recipe has a few thousand
MAX_VALUES = 8_000  # keys and values, parsed in a second; a recipe has a few hundred
MAX_DEPTH = 50  # a recipe has 5
MAX_DIGITS = 100
MAX_SHOWN = 80  # characters of a value in a message
KINDS = {type(None): "nothing", list: "a list", str: "a text", int: "a number", float: "a number", bool: "a boolean"}


@dataclass(frozen=True)
class Location:
    """Where a value stands: ``sweep.yaml:12``, or an argument of the command line."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Locations:
    """The location of every value of a recipe by its path of keys."""

    file: str
    known: dict[Key, Location] = field(default_factory=dict)

    def set(self, key: Key, location: Location) -> None:
        """Remember where ``key`` stands, and forget where the values below it stood."""
        for other in [other for other in self.known if other[: len(key)] == key]:
            del self.known[other]
        self.known[key] = location

    def at(self, key: Key) -> Location:
        """Return the location of ``key``, or of the innermost section around it that has a location."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.known:
                return self.known[key[:length]]
        return Location(self.file)


class _Loader(yaml.SafeLoader):
    """Safe YAML with the booleans and numbers of YAML 1.2, no tags, and no aliases (which can grow without bound)."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared so by the base
    depth = values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self.values += 1
        if self.check_event(yaml.AliasEvent):
            raise _refusal("an alias; recipes have none (quote a pattern: '*.q_proj')", event)
        if event.tag is not None:
            raise _refusal(f"tags like {event.tag} are not used in recipes: leave it out", event)
        if self.depth == MAX_DEPTH:
            raise _refusal(f"nested more than {MAX_DEPTH} deep: leave out brackets", event)
        if self.values > MAX_VALUES:
            raise _refusal(f"more than {MAX_VALUES:,} keys and values: make several recipes of this one", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_scalar(node))  # 010 is ten, not eight


class _Refusal(yaml.MarkedYAMLError):
    """A refusal of this reader, whose problem names its remedy."""


def _refusal(problem: str, event: Any) -> _Refusal:
    return _Refusal(problem=problem, problem_mark=event.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)"
for _tag, _pattern, _first in (
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", rf"^({_NUMBER}([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def load_yaml(path: Path) -> tuple[dict[str, Any], Locations]:
    """Return the mapping in ``path`` and the line of each value; InputError with file and line if it is no mapping."""
    locations = Locations(str(path))
    size = path.stat().st_size
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: {size} bytes are no recipe (limit {MAX_BYTES}). Give the path of a recipe.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from None
    data = _parse(text, str(path), locations)
    if not isinstance(data, dict):
        raise InputError(
            f"{path}:1: a recipe is a mapping of keys, not {KINDS.get(type(data), type(data).__name__)}. "
            "Write keys and values, for example `name: mine`."
        )
    return data, locations


def parse_word(text: str, word: str) -> Any:
    """Return the value of a command-line word ``key=text``, read as YAML; a name pattern needs no quotes there."""
    if text.startswith("*"):
        return text
    return _parse(text, f"argument {word!r}", Locations(word))


def _parse(text: str, source: str, locations: Locations) -> Any:
    try:
        loader = _Loader(hidden(text))
        node = loader.get_single_node()
        if node is None:
            return None
        _walk(node, (), locations, source)
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{source}:{line}: not text: character {error.character:#x}. Save the recipe as text, in UTF-8."
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{source}:{line}: not valid YAML: {_problem(error)}.") from None
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{source}: not valid YAML: nested too deep. Leave out brackets.") from None
    except (ValueError, OverflowError) as error:  # an escape like "\UFFFFFFFF"
        raise InputError(f"{source}: not valid YAML: {error}. Write the text itself.") from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong with the YAML, with a remedy: of `_Loader`, or for all that YAML's own parser refuses."""
    problem = str(error.problem or error.context)
    if isinstance(error, _Refusal):
        return problem
    if "another document" in problem:
        return f"{problem}: remove the line ---, or put the second recipe into a file of its own"
    if "\\t" in problem or "escape" in problem:
        return f"{problem}: write spaces for a tab, and a text with a backslash within single quotes"
    return f"{problem}: correct this line or the one before it; put a text with signs within quotes"


def _walk(node: yaml.Node, key: Key, locations: Locations, source: str) -> None:
    """Remember the line of every value below ``node``; refuse duplicate keys and keys that are not words."""
    locations.known.setdefault(key, Location(f"{source}:{node.start_mark.line + 1}"))
    if isinstance(node, yaml.ScalarNode):
        node.value = shown(node.value)
        _check_scalar(node, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*key, index), locations, source)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, child in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag != "tag:yaml.org,2002:str":
                raise InputError(f"{source}:{line}: a key is a word, not {_shown(name)}. Write a word there.")
            name.value = shown(name.value)
            if name.value in seen:
                raise InputError(
                    f"{source}:{line}: key {name.value!r} stands in line {seen[name.value]} already. Remove one."
                )
            seen[name.value] = line
            locations.known[(*key, name.value)] = Location(f"{source}:{line}")
            _walk(child, (*key, name.value), locations, source)


def _check_scalar(node: yaml.ScalarNode, source: str) -> None:
    """Refuse characters that hide in logs or break paths: NUL, line ends, half surrogates, signs that reverse text."""
    line = node.start_mark.line + 1
    if not node.value.isprintable():
        raise InputError(
            f"{source}:{line}: {_shown(node)} is not one line of printable text. Write it so, without signs that hide."
        )
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise InputError(
            f"{source}:{line}: a number of {len(node.value)} digits (limit {MAX_DIGITS}). Write a smaller one."
        )


def _shown(node: yaml.Node) -> str:
    """Return the beginning of a scalar as Python writes it; for a list or a mapping, the word for it."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value if len(node.value) <= MAX_SHOWN else f"{node.value[:MAX_SHOWN]}...")
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
