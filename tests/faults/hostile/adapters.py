"""Malformed adapters, made by a seeded generator: lying headers, damaged files, wrong configs, pickles, floods."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.hostile.canary import Canary

Change = Callable[[Path], None]
CANARY = "touched-by-adapter"


@dataclass(frozen=True)
class Adapter:
    """A change to the folder of a good adapter, in our format ("own") or in PEFT's ("peft"), that spoils it."""

    name: str
    format: str
    change: Change


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and tensors of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: Any, rest: bytes) -> bytes:
    """Return a safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def _lie(change: Callable[[dict[str, Any], str], Any]) -> Callable[[bytes], bytes]:
    """Return a change of the header; ``change(header, name of the first tensor)`` changes it or returns another."""

    def lie(content: bytes) -> bytes:
        header, rest = header_of(content)
        first = next(name for name in header if name != "__metadata__")
        other = change(header, first)
        return with_header(header if other is None else other, rest)

    return lie


def _overlap(header: dict[str, Any], place: list[int]) -> None:
    for name, entry in header.items():
        if name != "__metadata__":
            entry["data_offsets"] = place


def _set(key: str, value: Any) -> Callable[[bytes], bytes]:
    return _lie(lambda header, first: header[first].__setitem__(key, value))


TENSORS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "seven bytes": lambda content: content[:7],
    "eight bytes": lambda content: content[:8],
    "a header alone": lambda content: content[: 8 + struct.unpack("<Q", content[:8])[0]],
    "cut in the header": lambda content: content[:40],
    "cut by one byte": lambda content: content[:-1],
    "cut in half": lambda content: content[: len(content) // 2],
    "one byte more": lambda content: content + b"\0",
    "a tail of zeros": lambda content: content + bytes(4096),
    "zeros": lambda content: bytes(len(content)),
    "a header of 0 bytes": lambda content: struct.pack("<Q", 0) + content[8:],
    "a header of 100 MB": lambda content: struct.pack("<Q", 100_000_000) + content[8:],
    "a header of 2^63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "a header of 2^64 - 1 bytes": lambda content: struct.pack("<Q", 2**64 - 1) + content[8:],
    "a header longer than the file": lambda content: struct.pack("<Q", len(content)) + content[8:],
    "no JSON": lambda content: with_header(b"{", b""),
    "a list": lambda content: with_header([], b""),
    "null": lambda content: with_header(b"null", b""),
    "a text": lambda content: with_header(b'"x"', b""),
    "no tensors": lambda content: with_header({}, b""),
    "metadata alone": lambda content: with_header({"__metadata__": {"a": "b"}}, b""),
    "metadata that is no mapping": _lie(lambda header, first: header.update(__metadata__=[1])),
    "a deep header": lambda content: with_header(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
    "many tensors of nothing": lambda content: with_header(
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(20_000))
        + b"}",
        b"",
    ),
    "many sides": _set("shape", [2**62] * 200_000),
    "a name twice": lambda content: with_header(
        b"{" + b",".join([b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'] * 2) + b"}",
        bytes(4),
    ),
    "negative offsets": _set("data_offsets", [-4, 0]),
    "offsets that go back": _set("data_offsets", [8, 0]),
    "offsets beyond the file": _set("data_offsets", [0, 2**40]),
    "offsets beyond 2^64": _set("data_offsets", [0, 2**70]),
    "offsets as text": _set("data_offsets", ["0", "4"]),
    "offsets as fractions": _set("data_offsets", [0.0, 4.0]),
    "offsets as truth": _set("data_offsets", [False, True]),
    "three offsets": _set("data_offsets", [0, 4, 8]),
    "no offsets": _lie(lambda header, first: header[first].pop("data_offsets") and None),
    "no type": _lie(lambda header, first: header[first].pop("dtype") and None),
    "no shape": _lie(lambda header, first: header[first].pop("shape") and None),
    "a type that is none": _set("dtype", "X9"),
    "a type that is a number": _set("dtype", 5),
    "half as wide a type": _set("dtype", "F16"),
    "a negative shape": _set("shape", [-1, 2]),
    "a shape of nothing": _set("shape", []),
    "a shape of zeros": _set("shape", [0, 0]),
    "a shape as text": _set("shape", "22"),
    "a shape too large": _set("shape", [2**31, 2**31]),
    "a shape too large for 64 bits": _set("shape", [2**62, 2**62]),
    "tensors that overlap": _lie(lambda header, first: _overlap(header, header[first]["data_offsets"])),
    "a tensor that is no mapping": _lie(lambda header, first: header.update({first: [1]})),
    "a tensor less": _lie(lambda header, first: header.pop(first) and None),
    "a tensor of another name": _lie(lambda header, first: header.update({f"{first}x": header.pop(first)})),
    "a name of 1 MB": _lie(lambda header, first: header.update({"x" * 1_000_000: header.pop(first)})),
    "a name with a path": _lie(lambda header, first: header.update({"../../x": header.pop(first)})),
    "the shape turned": _lie(lambda header, first: header[first].update(shape=header[first]["shape"][::-1])),
    "flat": _lie(lambda header, first: header[first].update(shape=[math.prod(header[first]["shape"])])),
    "NaN": lambda content: content[:-4] + struct.pack("<f", float("nan")),
    "infinity": lambda content: content[:-4] + struct.pack("<f", float("inf")),
    "minus infinity": lambda content: content[:-4] + struct.pack("<f", float("-inf")),
    "a pickle": lambda content: pickle.dumps(Canary(CANARY)),
    "a zip": lambda content: b"PK\x03\x04" + content,
    "a pointer of git-lfs": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "text": lambda content: b"hello",
}  # fmt: skip
JSON_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"method": "lo',
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "Latin-1": b'{"method": "\xe9"}',
    "UTF-16": '{"method": "lora"}'.encode("utf-16"),
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a pickle": pickle.dumps(Canary(CANARY)),
    "an empty object": b"{}",
    "20 MB": b'{"a": "' + b"x" * 20_000_000 + b'"}',
}
OWN_CONFIG: dict[str, dict[str, Any]] = {
    "another method": {"method": "lora"},
    "a method that is none": {"method": "x"},
    "a method that is a list": {"method": ["d2lora"]},
    "a method with a path": {"method": "../../x"},
    "no settings": {"config": None},
    "settings as a list": {"config": [1]},
    "settings as text": {"config": "x"},
    "another rank": {"config": {"rank": 99}},
    "a rank as text": {"config": {"rank": "2"}},
    "another alpha": {"config": {"rank": 2, "alpha": 1e9}},
    "another digest of PEFT's file": {"peft_sha256": "0" * 64},
    "a digest that is a list": {"peft_sha256": [1]},
}
PEFT_CONFIG: dict[str, dict[str, Any]] = {
    "another kind": {"peft_type": "VERA"},
    "no kind": {"peft_type": None},
    "a kind that is a list": {"peft_type": ["LORA"]},
    "DoRA": {"use_dora": True},
    "no alpha": {"lora_alpha": None},
    "alpha as text": {"lora_alpha": "sixteen"},
    "alpha as a list": {"lora_alpha": [16]},
    "alpha that is NaN": {"lora_alpha": float("nan")},
    "alpha that is infinite": {"lora_alpha": float("inf")},
    "a pattern that is no pattern": {"alpha_pattern": {"(": 4}},
    "a pattern without end": {"alpha_pattern": {"((a|a)*)*b|(.*.*.*.*.*.*)*x": 4}},
    "patterns as a list": {"alpha_pattern": [4]},
    "a pattern's alpha as text": {"alpha_pattern": {".*": "x"}},
    "bias": {"bias": "all"},
    "modules to save": {"modules_to_save": ["lm_head"]},
    "a changed base": {"init_lora_weights": "pissa"},
    "a word that PEFT does not know": {"lora_bias": True},
    "code": {"auto_mapping": {"base_model_class": "X"}, "trainable_token_indices": [1]},
}


def adapters(count: int, seed: int = 0) -> Iterator[Adapter]:
    """Yield ``count`` spoiled adapters; the same for the same seed."""
    cases = [
        *(_of_tensors(name, how, change) for name, change in TENSORS.items() for how in ("own", "peft")),
        *(_of_text(name, how, text) for name, text in JSON_TEXTS.items() for how in ("own", "peft")),
        *(_of_config(name, "own", change) for name, change in OWN_CONFIG.items()),
        *(_of_config(name, "peft", change) for name, change in PEFT_CONFIG.items()),
        *(Adapter(f"{how}: {name}", how, change) for how in FILES for name, change in _file_changes(how).items()),
    ]
    draw = random.Random(seed)
    if count < len(cases):
        draw.shuffle(cases)
    yield from cases[:count]
    for number in range(count - len(cases)):
        yield _flipped(number, draw)


FILES = {"own": ("adapter.safetensors", "adapter.json"), "peft": ("adapter_model.safetensors", "adapter_config.json")}


def _rewrite(file: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda folder: _write(folder / file, change((folder / file).read_bytes()))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _of_tensors(name: str, how: str, change: Callable[[bytes], bytes]) -> Adapter:
    return Adapter(f"{how} tensors: {name}", how, _rewrite(FILES[how][0], change))


def _of_text(name: str, how: str, text: bytes) -> Adapter:
    return Adapter(f"{how} config: {name}", how, _rewrite(FILES[how][1], lambda content: text))


def _of_config(name: str, how: str, change: dict[str, Any]) -> Adapter:
    return Adapter(
        f"{how} config: {name}",
        how,
        _rewrite(FILES[how][1], lambda content: json.dumps(json.loads(content) | change).encode()),
    )


def _file_changes(how: str) -> dict[str, Change]:
    tensors, config = FILES[how]

    def replaced(name: str, make: Change) -> Change:
        def change(folder: Path) -> None:
            (folder / name).unlink()
            make(folder / name)

        return change

    def pickled(folder: Path) -> None:
        (folder / tensors).unlink()
        (folder / f"{Path(tensors).stem}.bin").write_bytes(pickle.dumps(Canary(CANARY)))

    return {
        "no tensors": lambda folder: (folder / tensors).unlink(),
        "no config": lambda folder: (folder / config).unlink(),
        "a pickle instead of the tensors": pickled,
        "a folder as tensors": replaced(tensors, lambda path: path.mkdir()),
        "a pipe as tensors": replaced(tensors, os.mkfifo),
        "a pipe as config": replaced(config, os.mkfifo),
        "a device as tensors": replaced(tensors, lambda path: path.symlink_to("/dev/zero")),
        "a device as config": replaced(config, lambda path: path.symlink_to("/dev/zero")),
        "a link to nothing": replaced(tensors, lambda path: path.symlink_to(path.with_name("gone"))),
        "a link to itself": replaced(config, lambda path: path.symlink_to(path)),
    }


def _flipped(number: int, draw: random.Random) -> Adapter:
    """Return an adapter of which one byte of a header or a config has changed; it may still be a good one."""
    how = draw.choice(("own", "peft"))
    file = FILES[how][draw.randrange(2)]
    where, value = draw.random(), draw.randrange(1, 256)

    def flip(content: bytes) -> bytes:
        end = 8 + struct.unpack("<Q", content[:8])[0] if file.endswith("safetensors") else len(content)
        spot = int(where * end)
        return content[:spot] + bytes([content[spot] ^ value]) + content[spot + 1 :]

    return Adapter(f"flipped {number}", how, _rewrite(file, flip))
