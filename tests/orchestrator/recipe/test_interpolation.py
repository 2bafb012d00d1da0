"""``${SCRATCH}`` in a recipe is refused with line, key and a word of a command line; that word is then tried."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import InputError
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec

HEAD = "tasks: [boolq]\nmethods: [lora]\nseeds: [0]\n"
KEYS = ("storage", "model.path", "model.name", "data.mirror", "tracking.uri", "tracking.experiment", "model.targets")
FORMS = {
    "${SCRATCH}": "a shell's",
    "${oc.env:SCRATCH}": "OmegaConf's",
    "${oc.env:SCRATCH,/tmp}": "OmegaConf's, with a default",
    "${env:SCRATCH}": "another tool's",
    "${SCRATCH:-/tmp}": "a shell's, with a default",
    "%(SCRATCH)s": "Python's",
    "{{ SCRATCH }}": "Jinja's",
    "{{SCRATCH}}": "Jinja's, without spaces",
    "{{ env.SCRATCH }}": "Jinja's, from the environment",
    "{{ env['SCRATCH'] }}": "Jinja's, from the environment by name",
    "${{ env.SCRATCH }}": "a workflow's",
    "$SCRATCH": "a shell's, bare",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(f"name: mine\n{text}")
    return path


def refusal(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        read_recipe(path, words)
    return str(caught.value)


def advised(message: str) -> list[str]:
    """Return the words that a shell makes of the advice, where SCRATCH is /data/s."""
    advice = message.splitlines()[0].partition("on the command line: ")[2]
    assert advice, message
    script = f"printf '%s\\0' {advice}"
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env={"SCRATCH": "/data/s"}, check=True)
    return told.stdout.split("\0")[:-1]


def value_at(spec: SweepSpec, dotted: str) -> Any:
    value: Any = spec
    for part in dotted.split("."):
        value = value[int(part)] if part.isdigit() else getattr(value, part)
    return value


def nested(dotted: str, value: str) -> str:
    """Return the YAML lines of one key, the value as it is."""
    *parents, last = dotted.split(".")
    return "".join(f"{parent}:\n  " for parent in parents) + f"{last}: {value}\n"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_every_way_to_write_a_variable_is_refused_and_the_advice_is_the_variable(
    form: str, quote: str, tmp_path: Path
) -> None:
    if quote in form:
        quote = '"'
    path = write(tmp_path, HEAD + nested("storage", f"{quote}{form}/sweeps{quote}"))
    message = refusal(path)
    assert message.startswith(f"{path}:5: storage holds {form}, which nothing fills in: write the value itself, or ")
    assert read_recipe(path, advised(message)).storage == "/data/s/sweeps"


@pytest.mark.parametrize("key", KEYS)
def test_every_place_and_address_of_a_recipe_is_looked_at(key: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + nested(key, "sqlite:///${SCRATCH}/x"))
    line = len(path.read_text().splitlines())
    message = refusal(path)
    assert message.startswith(f"{path}:{line}: {key} holds ${{SCRATCH}}, ")
    assert value_at(read_recipe(path, advised(message)), key) == "sqlite:////data/s/x"


@pytest.mark.parametrize("form", ["${SCRATCH}", "{{ SCRATCH }}", "%(SCRATCH)s"])
@pytest.mark.parametrize("before", ["model: {path: @, dtype: float32}", "model:\n  path: @", "model: {path: @}  # @"])
def test_one_that_is_no_yaml_without_quotes_is_refused_all_the_same(form: str, before: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + before.replace("@", form))
    message = refusal(path)
    assert f"model.path holds {form}, " in message
    assert read_recipe(path, advised(message)).model.path == "/data/s"


def test_within_a_list_the_advice_is_the_whole_list(tmp_path: Path) -> None:
    task = (
        '- boolq\n- {name: mine, path: "${SCRATCH}/my rows.jsonl", test: "${SCRATCH}2/t.jsonl", question: "a$b\'`"}\n'
    )
    path = write(tmp_path, f"methods: [lora]\nseeds: [0]\ntasks:\n{task}")
    message = refusal(path)
    assert message.startswith(f"{path}:6: tasks.1.path holds ${{SCRATCH}}, ")
    mine = read_recipe(path, advised(message)).tasks[1]
    assert (mine.path, mine.test, mine.question) == ("/data/s/my rows.jsonl", "/data/s2/t.jsonl", "a$b'`")


def test_all_of_a_recipe_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "storage: ${A}\ntracking: {uri: '{{ b }}'}\n")
    first, second = refusal(path).splitlines()
    assert first.startswith(f"{path}:5: storage holds ${{A}}, ")
    assert second.startswith(f"{path}:6: tracking.uri holds {{{{ b }}}}, ")


def test_a_name_is_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: ${SCRATCH}\n" + HEAD)
    assert refusal(path).startswith(f"{path}:1: name holds ${{SCRATCH}}, ")
    path = write(tmp_path, 'tasks: [boolq]\nmethods: [{name: lora, label: "{{ x }}"}]\nseeds: [0]\n')
    assert refusal(path).startswith(f"{path}:3: methods.0.label holds {{{{ x }}}}, ")


def test_a_word_in_single_quotes_is_named_as_that_word(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD)
    word = "storage=${SCRATCH}/sweeps"
    message = refusal(path, word)
    assert message.startswith(f"argument {word!r}: storage holds ${{SCRATCH}}, ")
    assert read_recipe(path, advised(message)).storage == "/data/s/sweeps"


def test_a_command_of_the_shell_is_left_to_the_shell(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "storage: $(echo $SCRATCH)/sweeps\n")
    message = refusal(path)
    assert "storage holds $(echo $SCRATCH), " in message
    assert read_recipe(path, advised(message)).storage == "/data/s/sweeps"


@pytest.mark.parametrize("form", ["${model.name}", "${now:%Y-%m-%d}", "{{ a + b }}", "${", "{{", "{% if x %}", "${}"])
def test_one_that_names_no_variable_is_refused_with_no_word_for_the_shell(form: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, HEAD + nested("storage", f"'{form}/sweeps'")))
    assert message.endswith(" which nothing fills in: write the value itself.")
    assert "storage holds " in message


def test_a_password_beside_one_is_not_repeated(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, HEAD + "tracking: {uri: 'http://ann:S3CRET@${SCRATCH}:5000'}\n"))
    assert message.endswith("tracking.uri holds ${SCRATCH}, which nothing fills in: write the value itself.")


LITERAL = [
    "~/sweeps",
    "../sweeps",
    "a$b",
    "costs$",
    "50%",
    "100%25",
    "%C3%A9",
    "5$/sweeps",
    "$5/sweeps",
    "/mnt/$RECYCLE.BIN",
    "a{b}c",
    "%(draft)",
    "$",
    "%",
    "a}}",
    "C$/x",
]


@pytest.mark.parametrize("place", LITERAL)
def test_a_dollar_or_a_percent_sign_that_is_no_interpolation_stays(place: str, tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, HEAD + yaml.safe_dump({"storage": place}))).storage == place
    assert read_recipe(write(tmp_path, HEAD), [f"storage={yaml.safe_dump(place, width=999).splitlines()[0]}"])


def test_a_comment_may_say_what_it_likes(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "storage: s  # python jobs/sweep.py recipe.yaml storage=${SCRATCH}/{{ x }}\n")
    assert read_recipe(path).storage == "s"


def test_lines_stay_what_they_are_behind_an_interpolation(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "storage: ${A}\noptim:\n  lrr: 1\n")
    assert refusal(path, "storage=a").startswith(f"{path}:7: Unknown key 'optim.lrr'.")


def test_a_file_full_of_them_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + f"storage: {'${' * 20_000}\n")
    assert re.search(r":5: storage holds \$\{", refusal(path))
    path = write(tmp_path, HEAD + f"storage: '{'${a}{{' * 8_000}'\n")
    assert refusal(path).startswith(f"{path}:5: storage holds ${{a}}, ")
