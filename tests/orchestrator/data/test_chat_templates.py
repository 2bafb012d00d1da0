"""Prompts as user turns of a chat template, and the end that is trained behind an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from orchestrator.data.example import Example
from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokenise import Form, tokenise
from orchestrator.errors import InputError
from orchestrator.model.token_batch import batch_items
from tests.helpers.models.toy_tokenizers import PROMPT, byte_level, made
from tests.helpers.own_choices import GOOD, prepare_choices

# --- chat templates, and the end of an answer

TEMPLATE = (
    "<s>{% for turn in messages %}[{{ turn.role }}] {{ turn.content }}{% if turn.role == 'assistant' %}</s>{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def chatting(template: str | None = TEMPLATE, around: str = "<s> $A </s>") -> Any:
    tokenizer = made(byte_level(), around)
    tokenizer.chat_template = template
    return tokenizer


def test_a_chat_template_asks_in_a_user_turn_and_the_answer_follows_as_the_template_writes_it() -> None:
    tokenizer = chatting()
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 1)], tokenizer, 200, Form(chat_template=True))
    assert [tokenizer.decode(ids) for ids in item.choices] == [
        f"<s>[user] {PROMPT}\n[assistant]{choice}" for choice in (" yes", " no")
    ]
    assert [tokenizer.decode(ids[item.starts[0] :]) for ids in item.choices] == [" yes", " no"]
    assert item.choices[0].count(1) == 1  # one BOS, the template's


def test_without_a_space_in_the_template_the_answer_has_none() -> None:
    tokenizer = chatting(TEMPLATE.replace("] {{", "]{{ '\n' }}{{").replace("[assistant]{%", "[assistant]{{ '\n' }}{%"))
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 1)], tokenizer, 200, Form(chat_template=True))
    assert tokenizer.decode(item.choices[0]).endswith("[assistant]\nyes")


THOUGHT = "<think>\n\n</think>\n\n"
JOINTS = {
    "no thought": (THOUGHT, "\n\n"),
    "a thought and a space": ("<think></think> ", " "),
    "words": ("Reply: ", " "),
    "a mark": ("!", ""),
}


@pytest.mark.parametrize("kind", JOINTS)
def test_an_answer_stands_where_the_template_puts_it_and_the_template_s_words_are_not_scored(kind: str) -> None:
    joint, space = JOINTS[kind]
    template = TEMPLATE.replace(
        "{{ turn.content }}", "{{ (JOINT if turn.role == 'assistant' else '') + turn.content }}"
    )
    tokenizer = chatting(template.replace("JOINT", repr(joint)))
    tokenizer.chat_template = tokenizer.chat_template.replace("}}] {{", "}}]{{")
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 1)], tokenizer, 200, Form(chat_template=True))
    for choice, ids in zip(("yes", "no"), item.choices, strict=True):
        turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": choice}]
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        assert whole == tokenizer.decode(ids) + "</s>\n"
        assert tokenizer.decode(ids[item.starts[0] :]) == space + choice


@pytest.mark.parametrize(
    "begin", ["\n", "\n\n", "  ", " \n ", "  {% if true %}x{% endif %}", "\n  {%- if true %} x{% endif %}"]
)
def test_a_template_keeps_the_white_space_that_it_begins_with(begin: str) -> None:
    template = begin + TEMPLATE.removeprefix("<s>")
    tokenizer = chatting(template)
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 1)], tokenizer, 200, Form(chat_template=True))
    turns = [{"role": "user", "content": PROMPT}]
    own = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(item.choices[0]) == f"{own} yes"


def test_a_long_prompt_loses_its_beginning_and_keeps_the_head_of_its_turn() -> None:
    tokenizer = chatting()
    example = Example("river " * 60 + PROMPT, (" yes", " no"), 1)
    (item,) = tokenise([example], tokenizer, 40, Form(chat_template=True))
    text = tokenizer.decode(item.choices[0])
    assert len(item.choices[0]) == 40
    assert text.startswith("<s>[user]")
    assert text.endswith(f"{PROMPT}\n[assistant] yes")


def test_a_template_that_tells_the_date_makes_the_same_run_tomorrow() -> None:
    tokenizer = chatting("{{ strftime_now('%d %b %Y') }} " + TEMPLATE)
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 1)], tokenizer, 200, Form(chat_template=True))
    assert tokenizer.decode(item.choices[0]).startswith("26 Jul 2024 <s>")


@pytest.mark.parametrize("template", [None, "{{ raise_exception('only systems') }}"])
def test_a_tokenizer_without_a_template_for_users_is_refused(template: str | None) -> None:
    with pytest.raises(InputError, match=r"data\.chat_template=true, but .*[Ll]eave data\.chat_template out"):
        tokenise([Example(PROMPT, (" yes", " no"), 1)], chatting(template), 200, Form(chat_template=True))


def test_the_end_is_trained_and_never_scored(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    ends = prepare_choices(tmp_path, tokenizers["BOS and EOS"], GOOD, append_eos=True)
    plain = prepare_choices(tmp_path, tokenizers["BOS and EOS"], GOOD)
    assert ends.fingerprint != plain.fingerprint
    for one, other in zip(load_prepared(ends.path)["train"], load_prepared(plain.path)["train"], strict=True):
        assert one.choices == other.choices
        assert one.trained() == ((*other.trained()[0], 2), other.starts[0])
        assert 2 not in batch_items([one]).wanted_A


def test_chat_templates_and_ends_are_other_data(tmp_path: Path) -> None:
    prints = {
        prepare_choices(tmp_path, chatting(template), GOOD, **settings).fingerprint
        for template in (TEMPLATE, TEMPLATE.replace("user", "person"))
        for settings in ({"chat_template": True}, {"chat_template": True, "append_eos": True}, {})
    }
    prints.add(
        prepare_choices(
            tmp_path, chatting(TEMPLATE.replace("turn.role }}", "turn.role }}!")), GOOD, chat_template=True
        ).fingerprint
    )
    assert len(prints) == 4


def test_a_base_without_an_end_cannot_append_it(tmp_path: Path) -> None:
    backend = byte_level()
    with pytest.raises(InputError, match=r"data\.append_eos=true, but .* no EOS token: leave data\.append_eos out"):
        prepare_choices(tmp_path, PreTrainedTokenizerFast(tokenizer_object=backend), GOOD, append_eos=True)
    prepare_choices(tmp_path, PreTrainedTokenizerFast(tokenizer_object=backend), GOOD)
