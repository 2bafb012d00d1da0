"""Prepare a task: tokenise its splits once, and keep the tokens under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.data.bad_rows import BadRow, refuse
from orchestrator.data.example import RowError
from orchestrator.data.splits import SplitReport, Splits
from orchestrator.data.texts import TURNS, Tokenizer, tokenizer_digest
from orchestrator.data.token_cache import FORMAT, read_tokens, write_tokens
from orchestrator.data.tokenise import Form, LongAnswerError, tokenise
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.errors import CorruptCacheError, InputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A task whose tokens are in the file ``path``.

    ``fingerprint`` is the sha256 of the tokens and is part of a run's key. ``truncated`` is, by split, the number of
    items whose prompt was cut, ``indistinct`` the number of items with two choices of the same tokens. ``appended``
    are the special tokens, as text, that the tokenizer appends to every text and that were cut.
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
    """Tokenise the splits, unless their tokens are in ``cache_dir`` already; a damaged file there is made again.

    ``chat_template`` and ``append_eos`` are as in `Form`. An example that the tokenizer cannot take is a bad row. So is
    an example of your own file with two choices of the same tokens. InputError for bad rows, unless
    ``splits.skip_bad_rows`` leaves them out and they are few (`orchestrator.data.bad_rows.refuse`).
    """
    form = Form(chat_template, append_eos, distinct=splits.own)
    key = _key(splits, tokenizer, max_length, form)
    path = cache_dir / f"{splits.task}-{key[:32]}.safetensors"
    if path.exists():
        try:
            return _prepared(splits, tokenizer, path, *read_tokens(path))
        except CorruptCacheError as error:
            _log.warning("%s It is made again.", error)
    tokenised = _tokenised(splits, tokenizer, max_length, form)
    fingerprint = write_tokens(path, tokenised)
    return _prepared(splits, tokenizer, path, tokenised, fingerprint)


def load_prepared(path: Path) -> dict[str, TokenisedSplit]:
    """Return train, validation and test of a prepared file, each a sequence of `Item`.

    CorruptCacheError if the file is damaged.
    """
    return read_tokens(path)[0]


def _tokenised(splits: Splits, tokenizer: Tokenizer, max_length: int, form: Form) -> dict[str, TokenisedSplit]:
    """Return the splits in tokens, without their bad rows; InputError unless the bad rows may be left out."""
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
    """Return what is wrong with a row. If another row needs a larger max_length, say which length holds all rows."""
    more = isinstance(error, LongAnswerError) and error.needed < needed
    return f"{error} The longest needs data.max_length={needed}." if more else str(error)


def _prepared(
    splits: Splits, tokenizer: Tokenizer, path: Path, tokenised: Mapping[str, TokenisedSplit], fingerprint: str
) -> Prepared:
    """Return the description of a prepared file, with the report on what the tokenizer left out."""
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
    """Return the text of a token; its number if the tokenizer has no texts."""
    text_of = getattr(tokenizer, "convert_ids_to_tokens", str)
    return str(text_of(token))


def _key(splits: Splits, tokenizer: Tokenizer, max_length: int, form: Form) -> str:
    """Return a hash of everything that the tokens depend on."""
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
    """Return the counts that decide whether bad rows are few enough to be left out; False if none may be left out."""
    return splits.skip_bad_rows and [[file.rows, file.bad] for file in splits.read.values()]
