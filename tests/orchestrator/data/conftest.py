"""Splits and tokenizers that the tests of this room share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from orchestrator.data.splits import Splits
from tests.helpers.models.toy_tokenizers import KINDS
from tests.helpers.sums import byte_pairs, splits_of, sum_row


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return splits_of(tmp_path, [sum_row(n) for n in range(60)], [sum_row(n) for n in range(100, 120)])


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=byte_pairs())


@pytest.fixture(scope="session")
def bos_tokenizer() -> PreTrainedTokenizerFast:
    backend = byte_pairs()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Any]:
    return {name: make() for name, make in KINDS.items()}
