"""Malformed recipes, made by a seeded generator: typos, wrong types and numbers, broken YAML, bombs, hostile texts."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import yaml

Tree = dict[str, Any]
Case = tuple[str, bytes]
GOOD: Tree = {
    "name": "small",
    "model": {"name": "tiny", "dtype": "float32", "targets": "attention"},
    "tasks": ["tiny_recall", {"name": "mine", "path": "mine.jsonl", "question": "q", "choices": "o", "answer": "a"}],
    "methods": [{"name": "d2lora", "rank": 2, "alpha": 4}, {"name": "lora", "rank": [2, 4], "dropout": 0.1}],
    "seeds": [0, 1],
    "controls": "none",
    "budget": "none",
    "data": {"train_samples": 48, "eval_samples": 24, "max_length": 64, "bad_rows": "error", "chat_template": False},
    "optim": {
        "lr": [1e-4, 3e-4],
        "epochs": 2,
        "micro_batch": 8,
        "global_batch": 16,
        "warmup": 0.03,
        "betas": [0.9, 0.99],
    },
    "engine": {"kind": "plain", "stage": 2, "diagnostics": True},
    "cluster": {"kind": "local", "pack": 3, "workers": 1, "retries": 1},
    "search": {"kind": "grid"},
    "tracking": {"uri": "none", "experiment": "e"},
    "storage": "sweeps",
    "champions": True,
}
"""A recipe that is accepted, with every section."""
VALUES: tuple[Any, ...] = (
    None, "", " ", "x", [], {}, [[]], [None], {"x": 1}, [{"x": 1}], -1, -0.5, 10**30, 1e308, float("nan"), float("inf"),
    "\u202egnp", "a\x00b", "a\nb", "../../up", "$(id)", "${HOME}", "{{x}}", "%(x)s", "x" * 5000,
)  # fmt: skip
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "a comment alone": b"# nothing\n",
    "a list": b"- a\n- b\n",
    "a text": b"hello\n",
    "a number": b"5\n",
    "null": b"null\n",
    "tabs": b"name: a\n\tseeds: [0]\n",
    "not closed": b"name: [a\n",
    "not closed either": b"name: {a: b\n",
    "a quote": b'name: "a\n',
    "two documents": b"name: a\n---\nname: b\n",
    "an alias": b"name: &a x\nstorage: *a\n",
    "an unknown alias": b"name: *a\n",
    "a bomb of aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)),
    "an alias of itself": b"name: &a [*a]\n",
    "merge keys": b"base: &b {name: a}\n<<: *b\n",
    "merge keys of a text": b"name: a\n<<: b\n",
    "an object of Python": b"name: !!python/object/apply:os.system ['touch canary']\n",
    "a module of Python": b"name: !!python/module:canary\n",
    "a tag": b"name: !secret x\n",
    "a binary tag": b"name: !!binary aGk=\n",
    "a set": b"name: !!set {a, b}\n",
    "a directive": b"%FOO bar\n---\nname: a\n",
    "a key twice": b"name: a\nname: b\n",
    "an inner key twice": b"name: a\noptim: {lr: 1.0e-4, lr: 2.0e-4}\n",
    "a number as key": b"5: a\n",
    "null as key": b"~: a\n",
    "a list as key": b"? [a]\n: b\n",
    "a mapping as key": b"? {a: b}\n: c\n",
    "a boolean as key": b"true: a\n",
    "an empty key": b"'': a\n",
    "a NUL": b"name: a\0b\n",
    "a bell": b"name: a\x07b\n",
    "Latin-1": b"name: caf\xe9\n",
    "UTF-16": "name: a\n".encode("utf-16"),
    "UTF-32": "name: a\n".encode("utf-32"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a picture": b"\x89PNG\r\n\x1a\n",
    "ELF": b"\x7fELF\x02\x01\x01",
    "half a surrogate": b'name: "\\ud800"\n',
    "a number beyond Unicode": b'name: "\\UFFFFFFFF"\n',
    "an escape that is none": b'name: "\\q"\n',
    "digits": b"seeds: [" + b"9" * 5000 + b"]\n",
    "a long exponent": b"optim: {lr: 1e" + b"9" * 400 + b"}\n",
    "10 MB": b"name: " + b"x" * 10_000_000 + b"\n",
    "10 MB of keys": b"".join(b"k%d: 1\n" % n for n in range(900_000)),
    "deep lists": b"name: " + b"[" * 20_000 + b"]" * 20_000 + b"\n",
    "deep mappings": b"name: " + b"{a: " * 20_000 + b"x" + b"}" * 20_000 + b"\n",
    "deep lists, not closed": b"name: " + b"[" * 90_000,
    "deep dashes": b"- " * 40_000 + b"x\n",
    "deep by indent": b"".join(b" " * n + b"k:\n" for n in range(300)),
    "deeper than 50": b"name: " + b"[" * 60 + b"]" * 60 + b"\n",
    "many question marks": b"? " * 40_000,
    "many colons": b": " * 40_000,
    "many keys": b"".join(b"k%d: 1\n" % n for n in range(8_000)),
    "many quotes": b"name: '" + b"''" * 40_000 + b"'\n",
    "many braces": b"name: " + b"${" * 40_000 + b"\n",
    "nested braces": b"storage: " + b"${a:-" * 9_000 + b"}" * 9_000 + b"\n",
    "many percents": b"name: " + b"%(" * 40_000 + b"\n",
    "a folded flood": b"name: >\n" + b"  x\n" * 20_000,
    "a flood of anchors": b"".join(b"k%d: &a%d 1\n" % (n, n) for n in range(5_000)),
    "a flood of comments": b"#\n" * 49_000,
    "a flood of seeds": b"name: a\ntasks: [tiny_recall]\nmethods: [lora]\nseeds: ["
    + b",".join(b"%d" % n for n in range(15_000)) + b"]\n",
}  # fmt: skip
GRIDS: dict[str, Tree] = {
    "a grid of a million methods": {
        "methods": [
            {
                "name": "lora",
                "rank": list(range(1, 101)),
                "alpha": list(range(1, 101)),
                "dropout": [n / 200 for n in range(100)],
            }
        ]
    },
    "a grid of ten million runs": {
        "methods": [{"name": "lora", "rank": list(range(1, 33)), "alpha": list(range(1, 33))}],
        "optim": {"lr": [1e-6 * n for n in range(1, 101)], "micro_batch": 8, "global_batch": 16},
        "seeds": list(range(100)),
    },
    "axes of a million seeds": {"seeds": {"init": list(range(1000)), "data": list(range(1000))}},
    "many tasks": {"tasks": [{"name": f"t{n}", "path": "mine.jsonl"} for n in range(3000)]},
    "a seed that is huge": {"seeds": [10**40]},
    "a rank that is huge": {"methods": [{"name": "lora", "rank": 10**18}]},
    "a rank of many digits": {"methods": [{"name": "lora", "rank": 10**90}]},
    "workers beyond all machines": {"cluster": {"workers": 10**12, "kind": "ray"}},
    "batches of many digits": {"optim": {"micro_batch": 10**60, "global_batch": 10**61}},
    "epochs without end": {"optim": {"epochs": 1e300, "micro_batch": 8, "global_batch": 16}},
}


def recipes(count: int, seed: int = 0) -> Iterator[Case]:
    """Yield ``count`` named recipes as bytes, nearly all of them wrong; the same for the same seed."""
    yield from BROKEN.items()
    for name, changes in GRIDS.items():
        yield name, dumped({**GOOD, "tasks": ["tiny_recall"], **changes})
    draw, left = random.Random(seed), count - len(BROKEN) - len(GRIDS)
    changed = [*_typos(draw), *_values(draw), *_texts(draw)]
    draw.shuffle(changed)
    yield from changed[:left]
    for number in range(left - len(changed)):
        yield f"two faults {number}", dumped(_spoiled(_spoiled(copy.deepcopy(GOOD), draw), draw))


def dumped(tree: Tree) -> bytes:
    """Return a recipe as YAML; every JSON text without NaN is YAML, and quick to write."""
    try:
        return json.dumps(tree, allow_nan=False).encode()
    except ValueError:
        return yaml.safe_dump(tree, allow_unicode=True).encode()


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below ``tree``."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]


def put(tree: Tree, path: tuple[Any, ...], value: Any) -> Tree:
    """Return a copy of ``tree`` with another value at ``path``."""
    changed = copy.deepcopy(tree)
    node: Any = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


def _typos(draw: random.Random) -> Iterator[Case]:
    """Yield a recipe with a typo in one key, for every key."""
    for path in places(GOOD):
        if isinstance(path[-1], str):
            key = path[-1]
            cut = draw.randrange(len(key))
            for typo in {key[:cut] + key[cut + 1 :], key + key[-1], key.upper(), f" {key}", f"{key}\u200b"} - {key}:
                changed = copy.deepcopy(GOOD)
                node: Any = changed
                for part in path[:-1]:
                    node = node[part]
                node[typo] = node.pop(key)
                yield f"typo {'.'.join(map(str, path))} -> {typo!r}", dumped(changed)


def _values(draw: random.Random) -> Iterator[Case]:
    """Yield a recipe with a strange value at one place, for every place and a draw of the values."""
    for path in places(GOOD):
        for value in draw.sample(VALUES, 8):
            yield f"{'.'.join(map(str, path))} = {str(value)[:20]!r}", dumped(put(GOOD, path, value))


def _texts(draw: random.Random) -> Iterator[Case]:
    """Yield the text of a recipe with bytes removed, repeated, replaced or moved."""
    text = yaml.safe_dump(GOOD).encode()
    for number in range(150):
        start = draw.randrange(len(text))
        stop = min(len(text), start + draw.choice((1, 1, 2, 7, 40)))
        strange = draw.choice(
            (b"", b":", b"\t", b"- ", b"'", b"{", b"]", b"*", b"&a ", b"\xff", b"\n", text[start:stop] * 2)
        )
        yield f"bytes {number}", text[:start] + strange + text[stop:]


def _spoiled(tree: Tree, draw: random.Random) -> Tree:
    return put(tree, draw.choice(places(tree)), draw.choice(VALUES))
