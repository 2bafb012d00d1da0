"""The sweep that every arm must do, in one folder: a base, the rows of two tasks, and the case's numbers."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

TASKS = ("first", "second")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK, ALPHA, RATE = 16, 32.0, 1e-3
LAYERS = 16  # of the base: with fewer layers, embedding and head would weigh more than in real models
SHORTEST, LONGEST = 16, 48  # tokens of a row, drawn uniformly: 32 on average
ANSWER, CHOICES = 4, 4  # tokens of a choice, choices of a question
EVAL_ROWS = 4  # rows of validation and of test: few, because whole sweeps are compared, not scoring
SPECIAL = ("<pad>", "</s>", "<unk>", "Question:", "Answer:")

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """The numbers that decide the work of a sweep: a run is one epoch of `steps` batches of about `tokens` tokens."""

    vocab: int
    tokens: int
    method: Literal["lora", "dora"]
    steps: int
    seeds: int = 4

    @property
    def batch(self) -> int:
        """The rows of a batch."""
        return max(1, self.tokens * 2 // (SHORTEST + LONGEST))

    @property
    def label(self) -> str:
        """The name of the case in tables."""
        return f"V {self.vocab // 1024}k, {self.tokens} tokens a lane and step, {self.method}"


@dataclass(frozen=True)
class Run:
    """One run of the sweep."""

    task: str
    seed: int


@dataclass(frozen=True)
class Prepared:
    """A case on disk: the Hugging Face directory `base`, and the rows of all arms in `rows/<task>/<split>.jsonl`."""

    folder: Path
    case: Case

    @property
    def base(self) -> Path:
        """The directory of the base and its tokenizer."""
        return self.folder / "base"

    @property
    def runs(self) -> list[Run]:
        """Every run of the sweep."""
        return [Run(task, seed) for task in TASKS for seed in range(self.case.seeds)]

    def file(self, task: str, split: str) -> Path:
        """Return the file of a split; our sweep cuts train and validation from the split `pool`."""
        return self.folder / "rows" / task / f"{split}.jsonl"

    def rows(self, task: str, split: str) -> list[Row]:
        """Return the rows of a split."""
        return [json.loads(line) for line in self.file(task, split).read_text().splitlines()]


def make(folder: Path, case: Case, base: Path | None = None) -> Prepared:
    """Write the case to ``folder``. ``base`` is another case's base with this vocabulary; None makes a new base."""
    prepared = Prepared(folder, case)
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps(asdict(case)))
    if base is None:
        make_base(prepared.base, case.vocab)
    else:
        prepared.base.symlink_to(base.resolve())
    for number, task in enumerate(TASKS):
        _write_task(prepared, task, random.Random(number))  # noqa: S311
    return prepared


def read(folder: Path) -> Prepared:
    """Return the case that `make` has written to ``folder``."""
    return Prepared(folder, Case(**json.loads((folder / "case.json").read_text())))


def draw_rows(count: int, vocab: int, draw: random.Random) -> Iterator[Row]:
    """Yield random questions. Each word is one token, so the number of words is the length of a row."""

    def words(number: int) -> str:
        return " ".join(f"w{draw.randrange(len(SPECIAL), vocab)}" for _ in range(number))

    for _ in range(count):
        length = draw.randint(SHORTEST, LONGEST)
        yield {
            "question": words(length - ANSWER - 2),
            "choices": [words(ANSWER) for _ in range(CHOICES)],
            "answer": draw.randrange(CHOICES),
        }


def text_of(row: Row) -> tuple[str, list[str]]:
    """Return prompt and choices as our task format writes them."""
    return f"Question: {row['question']}\nAnswer:", [f" {choice}" for choice in row["choices"]]


def recipe(prepared: Prepared, place: Path, values: str = "") -> str:
    """Return our recipe for the case, with all its files below ``place``; ``values`` are further lines."""
    case = prepared.case
    return f"""
name: sweep
model: {{path: {prepared.base.resolve()}, dtype: float32, targets: attention}}
tasks: {json.dumps([_own(prepared, task) for task in TASKS])}
methods: [{{name: {case.method}, rank: {RANK}, alpha: {ALPHA}}}]
seeds: {list(range(case.seeds))}
data: {{train_samples: {case.batch * case.steps}, validation_samples: {EVAL_ROWS}, eval_samples: {EVAL_ROWS},
  max_length: 64}}
optim: {{lr: {RATE}, epochs: 1, micro_batch: {case.batch}, global_batch: {case.batch}, warmup: 0.0,
  schedule: cosine, clip: 1.0}}
engine: {{kind: plain}}
tracking: {{uri: "sqlite:///{place}/mlflow.db"}}
storage: {place}/sweeps
champions: false
{values}"""


def make_base(place: Path, vocab: int) -> None:
    """Write a small Llama with random weights, and a tokenizer with one token per word."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=512,
        num_hidden_layers=LAYERS,
        intermediate_size=1376,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(place)
    _tokenizer(vocab).save_pretrained(place)


def _tokenizer(vocab: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), vocab))]
    padding, end, unknown = SPECIAL[:3]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=padding, eos_token=end, unk_token=unknown)


def _own(prepared: Prepared, task: str) -> dict[str, str]:
    pool, test = (str(prepared.file(task, split).resolve()) for split in ("pool", "test"))
    return {"name": task, "path": pool, "test": test}


def _write_task(prepared: Prepared, task: str, draw: random.Random) -> None:
    """Write pool and test, and train and validation as our sweep cuts the pool, so that all arms have equal rows."""
    from orchestrator.data.splits import split_examples
    from orchestrator.data.tasks.own import Columns, own_task

    case = prepared.case
    train = case.batch * case.steps
    prepared.file(task, "pool").parent.mkdir(parents=True)
    pool = list(draw_rows(train + EVAL_ROWS, case.vocab, draw))
    _write(prepared.file(task, "pool"), pool)
    _write(prepared.file(task, "test"), list(draw_rows(EVAL_ROWS, case.vocab, draw)))
    own = own_task(task, prepared.file(task, "pool"), Columns(), prepared.file(task, "test"))
    splits = split_examples(own, train_samples=train, validation_samples=EVAL_ROWS, eval_samples=EVAL_ROWS)
    by_prompt = {text_of(row)[0]: row for row in pool}
    for name in ("train", "validation"):
        _write(prepared.file(task, name), [by_prompt[example.prompt] for example in splits.by_name()[name]])


def _write(file: Path, rows: list[Row]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
