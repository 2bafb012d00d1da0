"""Refuses ``${SCRATCH}`` in a recipe, which nothing fills in; the error names an argument that a shell fills in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Key = tuple[str | int, ...]
_WRITTEN = re.compile(
    r"\$\{(?:[^{}\n]|\{[^{}\n]*\})*\}"  # ${SCRATCH}, ${oc.env:SCRATCH}, ${{ env.SCRATCH }}
    r"|\{\{[^{}\n]*\}\}|\{%[^{}\n]*%\}"  # {{ scratch }}
    r"|%\([\w.]+\)[a-z]"  # %(scratch)s
    r"|\$\([^()\n]*\)"  # $(pwd)
    r"|(?:(?<=/)|^)\$[A-Z_][A-Z0-9_]*(?![\w.])"  # $SCRATCH/sweeps; not a$b, not /$RECYCLE.BIN
    r"|\$\{|\{\{"  # opened and not closed
)
_VARIABLE = re.compile(
    r"[${%(\s]*(?:(?:oc\.|os\.)?env(?:iron)?[.:\s\[('\"]+)?"  # up to the name
    r"([A-Za-z_]\w*)['\"\])]*\s*(?:(?::[-=?]|[,|})]).*)?"  # the name, then its end or a default; not ${model.name}
)
_SECRET = re.compile(r"://[^/@$]*@")  # a user's name and password, which no message may repeat
_HIDDEN = {code: 0xE000 + code for code in range(0x20, 0x7F)}  # private characters, which no recipe may hold
_SHOWN = {hidden: code for code, hidden in _HIDDEN.items()}


def hidden(text: str) -> str:
    """Return YAML text with interpolations as plain words, for `shown`, because ``{path: ${BASE}}`` is no YAML."""
    return _WRITTEN.sub(lambda match: match[0].translate(_HIDDEN), text)


def shown(value: str) -> str:
    """Return a value of `hidden` text as it was written."""
    return value.translate(_SHOWN)


def unfilled(data: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Yield key and message of every value that holds an interpolation: ``storage holds ${SCRATCH}, ...``."""
    for key, value in _texts(data, ()):
        if written := _WRITTEN.search(value):
            dotted = ".".join(map(str, key))
            yield key, f"{dotted} holds {written[0]}, which nothing fills in: {_remedy(data, key)}"


def _texts(node: Any, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield every text below a node with its key."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _texts(value, (*key, name))


def _remedy(data: Mapping[str, Any], key: Key) -> str:
    """Return the way out: to write the value itself, or if a variable holds it, an argument that names the variable."""
    word = _word(data, key)
    if word is None:
        return "write the value itself."
    return f"write the value itself, or let the shell fill it in, on the command line: {word}"


def _word(data: Mapping[str, Any], key: Key) -> str | None:
    """Return the argument ``storage="$SCRATCH/sweeps"``; for an item of a list, an argument with the whole list.

    None if the value names no variable, or has a password in it.
    """
    inner = next((depth for depth, part in enumerate(key) if isinstance(part, int)), len(key))
    value: Any = data
    for part in key[:inner]:
        value = value[part]
    texts = [text for _, text in _texts(value, ())]
    spelled = [_for_shell(written, "") for text in texts for written in _WRITTEN.findall(text)]
    if None in spelled or any(map(_SECRET.search, texts)):
        return None
    flow = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
    quoted = _quoted(flow.removesuffix("...\n").strip())
    return f'{".".join(map(str, key[:inner]))}="{quoted}"'


def _quoted(text: str) -> str:
    """Return a text to be put within double quotes, where a shell fills in the variables and changes nothing else."""
    parts, end = [], 0
    for written in _WRITTEN.finditer(text):
        after = text[written.end() : written.end() + 1]
        parts += [_escaped(text[end : written.start()]), _for_shell(written[0], after) or written[0]]
        end = written.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return re.sub(r'(["\\`$])', r"\\\1", text)


def _for_shell(written: str, after: str) -> str | None:
    """Return the shell's spelling of an interpolation, which the text ``after`` follows; None if it has no variable."""
    if written.startswith("$("):
        return written
    name = _VARIABLE.fullmatch(written)
    if name is None:
        return None
    return f"${{{name[1]}}}" if re.match(r"\w", after) else f"${name[1]}"
