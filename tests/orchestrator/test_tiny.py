"""The invented world, its tasks and its base: nothing can be guessed, nothing leaks, and the cache never lies."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data.example import Example
from orchestrator.data.tasks.tiny import example as example_of
from orchestrator.tiny import TinySettings, ensure_tiny_base
from orchestrator.tiny.base import content_hash, is_complete
from orchestrator.tiny.corpus import documents
from orchestrator.tiny.tasks import TINY_TASKS
from orchestrator.tiny.tokenizer import UNKNOWN, build_tokenizer
from orchestrator.tiny.world import RELATIONS, SPLITS, people

SMALL = TinySettings(steps=2, rows=4)
tasks = pytest.mark.parametrize("name", sorted(TINY_TASKS))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_tiny_base(tmp_path_factory.mktemp("cache"), settings=SMALL)


def three_standard_errors(chance: float, rows: int) -> float:
    return 3 * float((chance * (1 - chance) / rows) ** 0.5)


def test_task_tables_and_the_package_load_without_torch() -> None:
    code = (
        "import sys, orchestrator.tiny, orchestrator.tiny.tasks; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'tokenizers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_seed_reads_the_same_text_and_another_seed_another() -> None:
    first, again, other = (list(islice(documents(seed), 50)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_every_value_belongs_to_equally_many_people_of_a_split() -> None:
    for split, count in SPLITS.items():
        for kind, relation in RELATIONS.items():
            people_with = Counter(person.facts[kind] for person in people(split))
            assert people_with == dict.fromkeys(relation.values, count // len(relation.values)), (split, kind)


@tasks
def test_rows_are_many_distinct_and_the_same_every_time(name: str) -> None:
    task = TINY_TASKS[name]
    for split, least in (("train", 600), ("validation", 100), ("test", 300)):
        rows = task.rows(split)
        assert rows == task.rows(split)
        assert len(rows) >= least
        assert len({row["question"] for row in rows}) == len(rows)
        assert all(len(set(row["choices"])) == len(row["choices"]) for row in rows)


@tasks
def test_no_person_of_one_split_is_named_in_another(name: str) -> None:
    def named(split: str) -> set[str]:
        names = {person.name for other in SPLITS for person in people(other)}
        text = " ".join(row["question"].replace(",", " ").replace("?", " ") for row in TINY_TASKS[name].rows(split))
        return names & set(text.split())

    for split in SPLITS:
        assert named(split) == {person.name for person in people(split)}


@tasks
def test_answers_stand_in_every_position_equally_often(name: str) -> None:
    for split in SPLITS:
        rows = TINY_TASKS[name].rows(split)
        answers = Counter(row["answer"] for row in rows)
        assert set(answers) == set(range(len(rows[0]["choices"])))
        assert max(answers.values()) - min(answers.values()) <= 1


@tasks
def test_a_scorer_of_choices_alone_stays_at_chance(name: str) -> None:
    """It learns how often each choice is right in training and takes the likeliest of every test row."""
    task = TINY_TASKS[name]
    right, seen = Counter[str](), Counter[str]()
    for row in task.rows("train"):
        right[row["choices"][row["answer"]]] += 1
        seen.update(row["choices"])
    rows = task.rows("test")

    def rate(choice: str) -> float:
        return right[choice] / seen[choice] if choice in seen else 0.5

    hits = sum(
        max(range(len(row["choices"])), key=lambda index: rate(row["choices"][index])) == row["answer"] for row in rows
    )
    chance = 1 / len(rows[0]["choices"])
    assert abs(hits / len(rows) - chance) <= three_standard_errors(chance, len(rows))


def test_the_age_asked_for_tells_nothing_about_yes_or_no() -> None:
    for split in SPLITS:
        answers = Counter((row["question"].split()[-1], row["answer"]) for row in TINY_TASKS["tiny_above"].rows(split))
        assert all(answers[age, 0] == answers[age, 1] for age, _ in answers)


@tasks
def test_answers_are_what_the_facts_say(name: str) -> None:
    facts = {person.name: person.facts for split in SPLITS for person in people(split)}
    for row in TINY_TASKS[name].rows("test"):
        words = row["question"].replace(",", " ").replace("?", " ").split()
        named = [facts[word] for word in words if word in facts]
        answer = row["choices"][row["answer"]]
        if name == "tiny_recall":
            assert answer in named[0].values()
        elif name == "tiny_older":
            assert facts[answer]["age"] == max(fact["age"] for fact in named)
        else:
            assert answer == ("yes" if int(named[0]["age"]) > int(words[-1]) else "no")


@tasks
def test_fingerprints_differ_and_choices_begin_with_a_space(name: str) -> None:
    assert len({task.fingerprint for task in TINY_TASKS.values()}) == len(TINY_TASKS)
    example = example_of(TINY_TASKS[name].rows("test")[0])
    assert example.prompt == example.prompt.rstrip()
    assert all(choice.startswith(" ") for choice in example.choices)


@tasks
def test_a_choice_is_one_known_token_after_the_tokens_of_its_prompt(name: str, tokenizer: Any) -> None:
    for row in TINY_TASKS[name].rows("test"):
        example = example_of(row)
        prompt = tokenizer(example.prompt)["input_ids"]
        for choice in example.choices:
            whole = tokenizer(example.prompt + choice)["input_ids"]
            assert whole[:-1] == prompt
            assert tokenizer.unk_token_id not in whole


def test_the_corpus_has_a_token_for_every_word(tokenizer: Any) -> None:
    for text in islice(documents(7), 500):
        tokens = tokenizer.tokenize(text)
        assert UNKNOWN not in tokens
        assert not any(token.startswith("##") for token in tokens), text


def test_words_of_another_world_fall_to_characters(tokenizer: Any) -> None:
    assert tokenizer.tokenize("Zebra") == ["Z", "##e", "##b", "##r", "##a"]


def test_a_base_loads_again_with_its_tokenizer(small_base: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(small_base)
    assert loaded("Is Bupo older?")["input_ids"] == tokenizer("Is Bupo older?")["input_ids"]
    assert (loaded.pad_token_id, loaded.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)
    model = AutoModelForCausalLM.from_pretrained(small_base, dtype=torch.float32)
    key = model.get_submodule("model.layers.0.self_attn.k_proj").weight
    assert key.shape[0] < key.shape[1]


def test_a_complete_base_is_used_again_without_training(small_base: Path) -> None:
    def forbidden(step: int, steps: int, loss: float) -> None:
        pytest.fail(f"trained again: step {step} of {steps}, loss {loss}")

    assert ensure_tiny_base(small_base.parent, forbidden, SMALL) == small_base


def test_the_same_settings_make_the_same_weights_and_leave_the_global_generator_alone(
    small_base: Path, tmp_path: Path
) -> None:
    import torch

    before = torch.get_rng_state()
    again = ensure_tiny_base(tmp_path, settings=SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.name == small_base.name
    assert (again / "model.safetensors").read_bytes() == (small_base / "model.safetensors").read_bytes()


@pytest.mark.parametrize("change", [{"steps": 3}, {"seed": 1}, {"hidden": 32}, {"lr": 1e-3}])
def test_other_settings_are_another_base(change: dict[str, Any]) -> None:
    assert content_hash(replace(SMALL, **change)) != content_hash(SMALL)


def test_an_interrupted_training_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_tiny_base(tmp_path, interrupt, SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_training_goes_on_to_the_same_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr("orchestrator.tiny.saved.SECONDS", 0.0)
    settings, steps = replace(SMALL, steps=4), list[int]()

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_tiny_base(tmp_path / "again", interrupt, settings)
    (saved,) = (tmp_path / "again").iterdir()
    if damaged:
        content = bytearray(saved.read_bytes())
        content[-1] ^= 1
        saved.write_bytes(bytes(content))
    again = ensure_tiny_base(tmp_path / "again", lambda step, *_: steps.append(step), settings)
    assert steps == ([1, 2, 3, 4] if damaged else [4])
    assert list((tmp_path / "again").iterdir()) == [again]
    whole = ensure_tiny_base(tmp_path / "whole", settings=settings)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("harm", ["manifest.json", "model.safetensors"])
def test_a_damaged_base_does_not_count_and_is_made_again(harm: str, tmp_path: Path) -> None:
    place = ensure_tiny_base(tmp_path, settings=SMALL)
    (place / harm).write_bytes(b"half")
    assert not is_complete(place)
    assert ensure_tiny_base(tmp_path, settings=SMALL) == place
    assert is_complete(place)


def test_who_finishes_second_takes_the_base_of_the_first(small_base: Path, tmp_path: Path) -> None:
    def race(step: int, steps: int, loss: float) -> None:
        if step == steps:  # somebody else finishes just before us
            winner.append(ensure_tiny_base(tmp_path, settings=SMALL).stat().st_ino)

    winner: list[int] = []
    place = ensure_tiny_base(tmp_path, race, SMALL)
    assert place.stat().st_ino == winner[0]
    assert list(tmp_path.iterdir()) == [place]


def _accuracy(model: Any, tokenizer: Any, examples: list[Example]) -> float:
    import torch

    hits = 0
    for example in examples:
        ids = torch.tensor([tokenizer(example.prompt)["input_ids"]])
        with torch.no_grad():
            logits_V = model(input_ids=ids).logits[0, -1]
        firsts = [tokenizer(choice)["input_ids"][0] for choice in example.choices]
        hits += int(logits_V[firsts].argmax()) == example.answer
    return hits / len(examples)


def _tune(model: Any, tokenizer: Any, examples: list[Example], steps: int = 120, rows: int = 16) -> None:
    """Train a rank-8 LoRA on the attention projections with PEFT, the loss on the answer alone."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (step + 1) / 5) * (1 - step / steps)
        drawn = [examples[int(index)] for index in torch.randint(len(examples), (rows,), generator=generator)]
        encoded = [tokenizer(example.prompt + example.choices[example.answer])["input_ids"] for example in drawn]
        ids = torch.full((rows, max(map(len, encoded))), tokenizer.pad_token_id)
        labels = torch.full_like(ids, -100)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            labels[row, len(tokens) - 1] = tokens[-1]
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def real_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_tiny_base(tmp_path_factory.mktemp("real"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@tasks
def test_the_base_is_at_chance_and_a_lora_lifts_people_it_was_not_tuned_on(name: str, real_base: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real_base)
    model = AutoModelForCausalLM.from_pretrained(real_base, dtype=torch.float32)
    train, test = ([example_of(row) for row in TINY_TASKS[name].rows(s)] for s in ("train", "test"))
    chance = 1 / len(test[0].choices)
    band = three_standard_errors(chance, len(test))
    assert abs(_accuracy(model, tokenizer, test) - chance) <= band
    torch.manual_seed(0)
    tuned = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    )
    _tune(tuned, tokenizer, train)
    assert chance + band < _accuracy(tuned, tokenizer, test) < 0.97
