"""The keys ``nightly`` and ``renewed``: what is wrong in them is refused with place, nearest name and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec

HEAD = "name: mine\ntasks: [boolq, arc_easy]\nmethods: [d2lora, {name: lora, label: low}]\nseeds: [0, 1]\n"


def read(folder: Path, more: str, *words: str, head: str = HEAD) -> SweepSpec:
    (folder / "recipe.yaml").write_text(head + more)
    return read_recipe(folder / "recipe.yaml", words)


def refusal(folder: Path, more: str, *words: str, head: str = HEAD) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, more, *words, head=head)
    return str(caught.value)


def keys(spec: SweepSpec) -> list[str]:
    return [run.key for run in keyed(expand(spec), "base", {task.name: "data" for task in spec.tasks})]


# -- nightly


@pytest.mark.parametrize(
    "canary", ["{tasks: [arc_easy], methods: [low]}", "{tasks: 1, methods: 2, seeds: 1, fresh: 0}", "{}"]
)
def test_a_canary_that_the_recipe_has_is_read(tmp_path: Path, canary: str) -> None:
    assert read(tmp_path, f"nightly: {{canary: {canary}}}\n").nightly.canary.fresh in (0, 3)


@pytest.mark.parametrize(
    ("canary", "said", "remedy"),
    [
        ("tasks: [arc_esy]", "Unknown task 'arc_esy'. Did you mean 'arc_easy'?", "tasks: [arc_easy]"),
        ("methods: [lora]", "Unknown method 'lora'.", "methods: [low]"),
        ("tasks: 3", "nightly.canary.tasks=3 is more than the 2 tasks of the recipe (boolq, arc_easy)", "tasks: 2"),
        ("methods: 3", "is more than the 2 methods of the recipe (d2lora, low)", "methods: 2"),
        ("seeds: 3", "nightly.canary.seeds=3 is more than the 2 seeds of the recipe: give 2 or fewer", "seeds: 2"),
        ("tasks: []", "name one or more, each once, or give a number", "tasks: 1"),
        ("methods: [low, low]", "name one or more, each once", "methods: [low]"),
        ("sedes: 1", "Unknown key 'nightly.canary.sedes'. Did you mean 'nightly.canary.seeds'?", "seeds: 1"),
    ],
)
def test_a_canary_that_the_recipe_lacks_is_refused_with_its_line(
    tmp_path: Path, canary: str, said: str, remedy: str
) -> None:
    message = refusal(tmp_path, f"nightly:\n  canary:\n    {canary}\n")
    assert message.startswith(f"{tmp_path}/recipe.yaml:7: ")
    assert said in message
    assert read(tmp_path, f"nightly:\n  canary:\n    {remedy}\n")


def test_a_word_of_the_command_line_is_named_as_the_place(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", "nightly.canary.seeds=3").startswith("argument 'nightly.canary.seeds=3': ")


def test_the_sections_within_hold_keys(tmp_path: Path) -> None:
    assert "nightly.tell holds keys, not ['worse']" in refusal(tmp_path, "nightly: {tell: [worse]}\n")
    assert "Unknown key 'nightly.tell.url'" in refusal(tmp_path, "nightly: {tell: {url: x}}\n")
    assert "Unknown key 'nightly.keep.pages_day'. Did you mean" in refusal(
        tmp_path, "nightly: {keep: {pages_day: 3}}\n"
    )


def test_pairs_of_seeds_are_refused_where_nights_are_asked_for_and_only_there(tmp_path: Path) -> None:
    pairs = HEAD.replace("seeds: [0, 1]", "seeds: {init: [0, 1], data: [0, 1]}")
    assert read(tmp_path, "", head=pairs)
    message = refusal(tmp_path, "nightly: {canary: {tasks: 1}}\n", head=pairs)
    assert message.startswith(f"{tmp_path}/recipe.yaml:4: nightly compares independent seeds")
    assert "seeds: [0, 1, 2]" in message


def test_accepted_nights_are_dates(tmp_path: Path) -> None:
    assert read(tmp_path, "nightly: {accepted: [2026-11-28]}\n").nightly.accepted == ["2026-11-28"]
    assert "nightly.accepted" in refusal(tmp_path, "nightly: {accepted: [yesterday]}\n")


def test_nothing_of_the_section_is_in_a_run_key(tmp_path: Path) -> None:
    more = "nightly: {canary: {tasks: 1, fresh: 0}, confirm_seeds: 9, false_alarms_per_year: 0.5}\n"
    assert keys(read(tmp_path, more)) == keys(read(tmp_path, ""))


# -- renewed


def test_a_renewed_method_has_other_keys_and_the_other_methods_keep_theirs(tmp_path: Path) -> None:
    before, after = read(tmp_path, ""), read(tmp_path, "renewed: {low: 2026-11-28}\n")
    changed = [one != other for one, other in zip(keys(before), keys(after), strict=True)]
    assert changed == [run.method.label == "low" for run in expand(before)]
    assert len({*keys(before), *keys(after)}) == len(keys(before)) + sum(changed)
    again = with_values(after, {"renewed": {"low": "2026-11-29"}})
    assert set(keys(again)).isdisjoint({*keys(after)} - {*keys(before)})


def test_a_night_of_a_run_is_in_its_key_only_if_it_is_set(tmp_path: Path) -> None:
    run = expand(read(tmp_path, ""))[0]
    assert run.night is None
    assert run.model_copy(update={"night": "2026-11-28"}).key("base", "data") != run.key("base", "data")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("renewed: {lora: again}", "renewed: Unknown method 'lora'."),
        ("renewed: {lw: again}", "Did you mean 'low'?"),
        ("renewed: [low]", "renewed holds a night per method, not ['low']"),
    ],
)
def test_what_is_renewed_is_a_method_of_the_recipe(tmp_path: Path, more: str, said: str) -> None:
    message = refusal(tmp_path, more + "\n")
    assert message.startswith(f"{tmp_path}/recipe.yaml:5: ")
    assert said in message


@pytest.mark.parametrize("night", ["'../up'", "''", "'a b'"])
def test_the_word_of_a_renewed_method_is_a_name(tmp_path: Path, night: str) -> None:
    assert "renewed.low" in refusal(tmp_path, f"renewed: {{low: {night}}}\n")
