"""A task's splits in tokens, made once and kept under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from orchestrator.data.bad_rows import BadRow, refuse
from orchestrator.data.example import RowError
from orchestrator.data.splits import SplitReport, Splits, split_examples
from orchestrator.data.texts import TURNS, Tokenizer, tokenizer_digest
from orchestrator.data.tokens import Array, Form, Item, LongAnswerError, TokenisedSplit, tokenise
from orchestrator.errors import CorruptCacheError, InputError
from orchestrator.files import write_bytes

__all__ = [
    "Item",
    "Prepared",
    "SplitReport",
    "Splits",
    "TokenisedSplit",
    "Tokenizer",
    "load_prepared",
    "prepare",
    "split_examples",
    "tokenise",
]

FORMAT = 2  # one start for all choices of an item; nothing that a tokenizer appends
_SPLITS = ("train", "validation", "test")
_ARRAYS = ("tokens", "token_ends", "starts", "lengths", "choice_ends", "answers", "end", "appended")
_COUNTS = ("truncated", "indistinct", "refused")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Where a task's tokens are; ``fingerprint`` is the sha256 of their content and belongs in a run's key.

    ``truncated`` and ``indistinct`` count items by split; ``appended`` are the special tokens, in words, that the
    tokenizer puts behind every text and that were cut.
    """

    task: str
    path: Path
    fingerprint: str
    report: SplitReport
    truncated: dict[str, int]
    indistinct: dict[str, int]
    appended: tuple[str, ...] = ()


def prepare(
    splits: Splits,
    tokenizer: Tokenizer,
    *,
    max_length: int,
    cache_dir: Path,
    chat_template: bool = False,
    append_eos: bool = False,
) -> Prepared:
    """Tokenise the splits, or find them in ``cache_dir``; a damaged file there is logged and made again.

    ``chat_template`` and ``append_eos`` are as in `Form`. An example that the tokenizer cannot take is a bad row:
    `InputError`, or left out and counted where the splits say so. So are twins in your own file: choices that are
    the same tokens.
    """
    form = Form(chat_template, append_eos, distinct=splits.own)
    key = _key(splits, tokenizer, max_length, form)
    path = cache_dir / f"{splits.task}-{key[:32]}.safetensors"
    if path.exists():
        try:
            return _prepared(splits, tokenizer, path, *_read(path))
        except CorruptCacheError as error:
            _log.warning("%s It is made again.", error)
    tokenised = _tokenised(splits, tokenizer, max_length, form)
    fingerprint = _write(path, tokenised)
    return _prepared(splits, tokenizer, path, tokenised, fingerprint)


def load_prepared(path: Path) -> dict[str, TokenisedSplit]:
    """Return train, validation and test of a prepared file, each a sequence of `Item`; raise `CorruptCacheError`."""
    return _read(path)[0]


def _tokenised(splits: Splits, tokenizer: Tokenizer, max_length: int, form: Form) -> dict[str, TokenisedSplit]:
    """Return the splits in tokens without their bad rows; raise `InputError` unless those may be left out."""
    tokenised, errors = {}, {}
    for name, examples in splits.by_name().items():
        refused: dict[int, RowError] = {}
        tokenised[name] = tokenise(examples, tokenizer, max_length, form, refused)
        errors.update({splits.places[name][index]: error for index, error in refused.items()})
    needed = max((error.needed for error in errors.values() if isinstance(error, LongAnswerError)), default=0)
    bad = [BadRow(place, _reason(error, needed)) for place, error in errors.items()]
    places = (place for each in splits.places.values() for place in each)
    refuse(bad, places, skip=splits.skip_bad_rows, read=splits.read)
    for name, split in tokenised.items():
        if not len(split):
            first = next(row for row in bad if row.place in splits.places[name])
            raise InputError(f"Task {splits.task!r}: no row of {name} is left, for {first.place}: {first.reason}")
    return tokenised


def _reason(error: RowError, needed: int) -> str:
    """Return what is wrong with a row; where other rows need a larger max_length, the one that holds them all."""
    more = isinstance(error, LongAnswerError) and error.needed < needed
    return f"{error} The longest needs data.max_length={needed}." if more else str(error)


def _prepared(
    splits: Splits, tokenizer: Tokenizer, path: Path, tokenised: Mapping[str, TokenisedSplit], fingerprint: str
) -> Prepared:
    truncated = {name: split.truncated for name, split in tokenised.items()}
    indistinct = {name: split.indistinct for name, split in tokenised.items()}
    report = replace(
        splits.report,
        skipped=splits.report.skipped + sum(split.refused for split in tokenised.values()),
        indistinct=sum(indistinct.values()),
        **{name: len(split) for name, split in tokenised.items()},
    )
    appended = tuple(_token(tokenizer, token) for token in tokenised["train"].appended.tolist())
    return Prepared(splits.task, path, fingerprint, report, truncated, indistinct, appended)


def _token(tokenizer: Tokenizer, token: int) -> str:
    """Return a token in words: its text, where the tokenizer tells it."""
    spell = getattr(tokenizer, "convert_ids_to_tokens", str)
    return str(spell(token))


def _key(splits: Splits, tokenizer: Tokenizer, max_length: int, form: Form) -> str:
    template = [TURNS, str(getattr(tokenizer, "chat_template", None))] if form.chat_template else None
    end = tokenizer.eos_token_id if form.append_eos else None
    settings = [FORMAT, tokenizer_digest(tokenizer), max_length, asdict(form), template, end, _skipped(splits)]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, examples in splits.by_name().items():
        digest.update(f"\n{name} {len(examples)}\n".encode())
        for example in examples:
            digest.update(json.dumps([example.prompt, example.choices, example.answer]).encode())
    return digest.hexdigest()


def _skipped(splits: Splits) -> bool | list[list[int]]:
    """Return what decides whether bad rows may be left out; False where none may."""
    return splits.skip_bad_rows and [[each.rows, each.bad] for each in splits.read.values()]


def _tensors(tokenised: Mapping[str, TokenisedSplit]) -> dict[str, Array]:
    tensors = {f"{name}.{array}": getattr(tokenised[name], array) for name in _SPLITS for array in _ARRAYS}
    counts = [[getattr(tokenised[name], count) for count in _COUNTS] for name in _SPLITS]
    return {**tensors, "counts": np.array(counts, np.int64)}


def _fingerprint(tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype.str} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _write(path: Path, tokenised: Mapping[str, TokenisedSplit]) -> str:
    """Write a file that is there whole or not at all, whoever else writes it; return its fingerprint."""
    tensors = _tensors(tokenised)
    fingerprint = _fingerprint(tensors)
    content = save(tensors, {"written": f"{path.name} {fingerprint}"})  # one entry: their order is not fixed
    try:
        write_bytes(path, content)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Make room there or choose another cache folder."
        ) from error
    return fingerprint


def _read(path: Path) -> tuple[dict[str, TokenisedSplit], str]:
    remedy = "Delete the file and start again: it is made anew."
    try:
        with safe_open(path, framework="numpy") as file:
            written = (file.metadata() or {}).get("written")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CorruptCacheError(f"{path} cannot be read ({error}). {remedy}") from None
    fingerprint = _fingerprint(tensors)
    if written != f"{path.name} {fingerprint}":
        raise CorruptCacheError(f"{path} is not what was written: its content has sha256 {fingerprint[:12]}. {remedy}")
    counts = tensors["counts"].tolist()
    tokenised = {
        name: TokenisedSplit(*(tensors[f"{name}.{array}"] for array in _ARRAYS), *counts[row])
        for row, name in enumerate(_SPLITS)
    }
    return tokenised, fingerprint
