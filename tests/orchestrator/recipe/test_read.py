"""A recipe: what it means, and that everything wrong in it is one message with place, key and nearest name."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from d2lora import available_methods
from orchestrator.data.tasks import make_task
from orchestrator.errors import InputError
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.search import KINDS
from orchestrator.recipe.sections import TaskSpec
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.places import ROOT

BASE: dict[str, Any] = {"name": "mine", "tasks": ["boolq"], "methods": ["lora"], "seeds": [0]}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, *words: str, **changes: Any) -> SweepSpec:
    """Read the smallest recipe with top-level keys changed, one key a line, in BASE's order."""
    return read_recipe(write(folder, yaml.safe_dump({**BASE, **changes}, sort_keys=False)), words)


def read_text(folder: Path, more: str) -> SweepSpec:
    """Read the smallest recipe (4 lines) with ``more`` after it."""
    return read_recipe(write(folder, f"name: mine\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n{more}"))


def refusal(folder: Path, *words: str, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, *words, **changes)
    return str(caught.value)


def refused_text(folder: Path, more: str) -> str:
    with pytest.raises(InputError) as caught:
        read_text(folder, more)
    return str(caught.value)


def sections() -> dict[str, type[Frozen]]:
    return {
        name: field.annotation
        for name, field in SweepSpec.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen)
    }


SEARCH_KEYS = {key: kind for kind, section in KINDS.items() for key in section.model_fields if key != "kind"}
KEYS = [(section, key) for section, kind in sections().items() for key in kind.model_fields]
KEYS += [("search", key) for key in ("kind", *SEARCH_KEYS)]


def beside(section: str, key: str) -> str:
    """The lines that a search needs below one of its keys: its kind, and for TPE the trials."""
    if section != "search" or key == "kind":
        return ""
    kind = SEARCH_KEYS[key]
    return f"\n  kind: {kind}" + ("\n  trials: 1" if kind == "tpe" and key != "trials" else "")


def typo(key: str) -> str:
    return key[:-1] if len(key) > 3 else f"{key}_"


# -- what a recipe means


RECIPES = {"ablation": 360, "nightly": 30, "nightly_smollm2": 45, "paper": 640, "quickstart": 18, "smollm2": 27}


@pytest.mark.parametrize(("name", "runs"), RECIPES.items())
def test_every_recipe_of_the_project_loads_and_plans_its_runs_once_each(name: str, runs: int) -> None:
    planned = expand(read_recipe(ROOT / "recipes" / f"{name}.yaml"))
    assert len(planned) == runs
    keys = {run.key for run in keyed(planned, "base", {run.task.name: "data" for run in planned})}
    assert len(keys) == runs


def test_no_recipe_of_the_project_is_left_out_of_these_tests() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.yaml")} == set(RECIPES)


def test_reading_a_recipe_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.recipe.read import read_recipe; "
        f"read_recipe(Path({str(ROOT / 'recipes' / 'paper.yaml')!r})); "
        "print([name for name in ('torch', 'ray', 'transformers', 'mlflow', 'deepspeed') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", ".0001", "+1e-4"])
def test_a_number_is_a_number_however_it_is_spelled(tmp_path: Path, text: str) -> None:
    assert read_text(tmp_path, f"optim: {{lr: {text}}}").optim.lr == 1e-4


def test_a_number_with_a_leading_zero_is_decimal(tmp_path: Path) -> None:
    assert read_text(tmp_path, "data: {split_seed: 010}").data.split_seed == 10
    assert read_text(tmp_path, "data: {split_seed: 08}").data.split_seed == 8


@pytest.mark.parametrize(
    "word", ["off", "no", "on", "yes", "y", "n", "0x10", "1_000", "12:30", "2020-01-01", "<<", "="]
)
def test_words_that_older_yaml_reads_as_something_else_stay_words(tmp_path: Path, word: str) -> None:
    assert read_text(tmp_path, f"storage: {word}").storage == word


def test_off_switches_a_part_of_a_method_off(tmp_path: Path) -> None:
    sweep = read(tmp_path, "methods=[{name: d2lora, minus: off}]")
    assert sweep.methods[0].settings["minus"] == "off"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = yaml.safe_dump(BASE, sort_keys=False)
    marked = b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode()
    assert read_recipe(write(tmp_path, marked)) == read_recipe(write(tmp_path, plain))


def test_lists_in_a_method_span_a_grid_and_every_point_has_its_own_label(tmp_path: Path) -> None:
    sweep = read(tmp_path, methods=[{"name": "lora", "rank": [4, 8], "alpha": [8, 16, 32]}, "dora"])
    labels = [method.label for method in sweep.methods]
    assert len(labels) == len(set(labels)) == 7
    assert labels[:2] == ["lora(rank=4,alpha=8)", "lora(rank=4,alpha=16)"]
    assert labels[-1] == "dora"
    points = {(m.settings["rank"], m.settings["alpha"]) for m in sweep.methods if m.name == "lora"}
    assert points == {(rank, alpha) for rank in (4, 8) for alpha in (8, 16, 32)}


def test_labels_are_the_same_at_every_reading_and_say_only_what_differs(tmp_path: Path) -> None:
    entries = [{"name": "lora", "rank": 4}, {"name": "lora", "rank": 8}, {"name": "d2lora", "rank": 8}]
    first = [method.label for method in read(tmp_path, methods=entries).methods]
    assert first == [method.label for method in read(tmp_path, methods=entries).methods]
    assert first == ["lora(rank=4)", "lora(rank=8)", "d2lora"]


def test_a_label_is_kept_and_completed_by_the_axes_of_its_grid(tmp_path: Path) -> None:
    entry = {"name": "d2lora", "tau": [0.5, "learned"], "label": "ours"}
    assert [m.label for m in read(tmp_path, methods=[entry]).methods] == ["ours,tau=0.5", "ours,tau=learned"]


def test_targets_are_a_setting_and_may_be_an_axis(tmp_path: Path) -> None:
    sweep = read(
        tmp_path, methods=[{"name": "lora", "targets": ["attention", "mlp"]}, "dora"], model={"targets": "mlp"}
    )
    assert [method.targets for method in sweep.methods] == ["attention", "mlp", "mlp"]


@pytest.mark.parametrize("name", available_methods())
def test_a_method_is_resolved_to_every_one_of_its_settings(tmp_path: Path, name: str) -> None:
    (method,) = read(tmp_path, methods=[name]).methods
    (written,) = read(tmp_path, methods=[{"name": name, **method.settings}]).methods
    assert written == method


# -- overrides


def test_an_override_changes_a_value_adds_a_key_and_may_replace_a_section(tmp_path: Path) -> None:
    sweep = read(
        tmp_path, "seeds=[3, 4]", "optim.lr=1e-3", "data.mirror=/rows", "cluster={workers: 2}", optim={"lr": 0.5}
    )
    assert (sweep.seeds, sweep.optim.lr, sweep.data.mirror, sweep.cluster.workers) == ([3, 4], 1e-3, "/rows", 2)


def test_the_last_override_of_a_key_wins_and_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert read(tmp_path, "storage=a", "storage=b=c").storage == "b=c"


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("optim.lr=fast", "argument 'optim.lr=fast': optim.lr: "),
        ("optim.schedul=linear", "Did you mean 'optim.schedule'?"),
        ("optimm.lr=1", "argument 'optimm.lr=1': Unknown key 'optimm'. Did you mean 'optim'?"),
        ("new.deep.key=1", "argument 'new.deep.key=1': Unknown key 'new'."),
        ("optim.lr.x=1", "argument 'optim.lr.x=1': optim.lr: "),
        ("seeds.0=1", "argument 'seeds.0=1': seeds holds no keys."),
        (".lr=1", "argument '.lr=1': Unknown key ''."),
        ("optim..lr=1", "argument 'optim..lr=1': Unknown key 'optim.'."),
        ("optim.lr", "'optim.lr' is not key=value"),
        ("=1", "'=1' is not key=value"),
        ("seeds=[0", "argument 'seeds=[0':1: not valid YAML: "),
        ("seeds=[*a]", "argument 'seeds=[*a]':1: not valid YAML: an alias"),
        ("cluster={pack: 1, pack: 2}", "key 'pack' stands in line 1 already."),
        ("name=!!python/object:os.x y", "tags like tag:yaml.org,2002:python/object:os.x are not used"),
        ("storage=a\0b", "not text: character 0x0."),
        ("storage=\udcff", "not text: character 0xdcff."),
        ("optim.lr=\t", "not valid YAML: "),
        ("methods=[dorra]", "argument 'methods=[dorra]': Unknown method 'dorra'. Did you mean 'dora'?"),
    ],
)
def test_a_bad_override_is_named_as_the_argument_that_it_is(tmp_path: Path, word: str, wanted: str) -> None:
    message = refusal(tmp_path, word)
    assert wanted in message
    assert repr(word) in message
    assert "recipe.yaml" not in message


# -- unknown keys


@pytest.mark.parametrize("key", [*SweepSpec.model_fields])
def test_a_typo_of_a_top_level_key_is_refused_with_line_and_nearest_name(tmp_path: Path, key: str) -> None:
    message = refused_text(tmp_path, f"{typo(key)}: 1")
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:5: Unknown key '{typo(key)}'. Did you mean '{key}'?")


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_typo_of_any_key_of_a_section_is_refused_with_line_and_nearest_name(
    tmp_path: Path, section: str, key: str
) -> None:
    message = refused_text(tmp_path, f"{section}:\n  {typo(key)}: 1")
    wrong, right = f"{section}.{typo(key)}", f"{section}.{key}"
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:6: Unknown key {wrong!r}. Did you mean {right!r}?")


@pytest.mark.parametrize("key", [*TaskSpec.model_fields])
def test_a_typo_of_any_key_of_a_task_is_refused_with_line_and_nearest_name(tmp_path: Path, key: str) -> None:
    path = write(
        tmp_path, f"tasks:\n- boolq\n- name: own\n  path: own.jsonl\n  {typo(key)}: x\nmethods: [lora]\nseeds: [0]\n"
    )
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    near = f"Unknown key 'tasks.1.{typo(key)}'. Did you mean 'tasks.1.{key}'?"
    assert str(caught.value).startswith(f"{path}:5: {near}")


@pytest.mark.parametrize("name", available_methods())
def test_a_typo_of_any_setting_of_a_method_is_refused_with_line_and_nearest_name(tmp_path: Path, name: str) -> None:
    for key in [*read(tmp_path, methods=[name]).methods[0].settings, "targets", "label"]:
        text = f"tasks: [boolq]\nmethods:\n- name: {name}\n  {typo(key)}: 1\nseeds: [0]\n"
        with pytest.raises(InputError) as caught:
            read_recipe(write(tmp_path, text))
        assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}:4: Unknown setting '{typo(key)}'.")
        assert f"Did you mean '{key}'?" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "entry", "near"),
    [("methods", "dorra", "dora"), ("methods", "D2LoRA", None), ("tasks", "boolqq", "boolq"), ("tasks", "arc", None)],
)
def test_an_unknown_method_or_task_is_refused_with_all_that_there_are(
    tmp_path: Path, key: str, entry: str, near: str | None
) -> None:
    message = refusal(tmp_path, **{key: [entry]})
    assert f"Unknown {key[:-1]} {entry!r}." in message
    assert "Known: " in message
    assert near is None or f"Did you mean {near!r}?" in message


@pytest.mark.parametrize("key", ["name", "tasks", "methods", "seeds"])
def test_a_recipe_without_what_it_needs_is_refused_by_the_key_that_is_missing(tmp_path: Path, key: str) -> None:
    text = yaml.safe_dump({name: value for name, value in BASE.items() if name != key})
    with pytest.raises(InputError, match=f"recipe.yaml.*{key}.*(missing|required)"):
        read_recipe(write(tmp_path, text))


# -- wrong values


WRONG = {
    "a list": "[[x]]",
    "a mapping": "{a: 1}",
    "a word": "wrong",
    "a truth value": "true",
    "a fraction": "-1.5",
    "not a number": ".nan",
    "infinity": ".inf",
}
FREE_TEXT = {
    (section, key)
    for section, kind in sections().items()
    for key, field in kind.model_fields.items()
    if field.annotation is str or str in get_args(field.annotation)
}


SWITCHES = ("spot", "gradient_checkpointing", "deterministic", "diagnostics", "chat_template", "append_eos")
SWITCHES += ("retrain_when_ruler_moves",)
MAPPINGS = {("cluster", "env"), ("cluster", "resources_per_worker")} | {
    ("nightly", k) for k in ("canary", "tell", "keep")
}


def fits(section: str, key: str, what: str) -> bool:
    if (section, key) in MAPPINGS:
        return what == "a mapping"
    if what == "a word":
        return (section, key) in FREE_TEXT
    return what == "a truth value" and key in SWITCHES


@pytest.mark.parametrize(
    ("section", "key", "what"), [(*pair, what) for pair in KEYS for what in WRONG if not fits(*pair, what)]
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_line_and_key(
    tmp_path: Path, section: str, key: str, what: str
) -> None:
    message = refused_text(tmp_path, f"{section}:\n  {key}: {WRONG[what]}{beside(section, key)}")
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:6: {section}.{key}")


NUMBERS = [(s, k) for s, k in KEYS if s in ("data", "optim", "cluster") and (s, k) not in FREE_TEXT]
NOT_BELOW_ZERO = [pair for pair in NUMBERS if pair[1] not in ("split_seed", "kind", "schedule", "betas")]


@pytest.mark.parametrize(("section", "key"), NOT_BELOW_ZERO)
def test_a_negative_number_is_refused_wherever_a_number_belongs(tmp_path: Path, section: str, key: str) -> None:
    assert f":6: {section}.{key}" in refused_text(tmp_path, f"{section}:\n  {key}: -1")


@pytest.mark.parametrize("section", [*sections(), "search"])
@pytest.mark.parametrize("value", ["null", "[]", "5", "word"])
def test_a_section_that_holds_no_keys_is_refused(tmp_path: Path, section: str, value: str) -> None:
    assert f"recipe.yaml:5: {section} holds keys, not " in refused_text(tmp_path, f"{section}: {value}")


@pytest.mark.parametrize("key", ["tasks", "methods", "seeds"])
@pytest.mark.parametrize("value", [None, [], 5, "boolq", {"a": 1}, [None], [1.5], [[]], [True], [{}], [{"name": 5}]])
def test_lists_that_are_no_lists_and_entries_that_are_none_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    assert key in refusal(tmp_path, **{key: value}) or "is a name or a mapping" in refusal(tmp_path, **{key: value})


@pytest.mark.parametrize(
    "entry",
    [
        {"rank": 0}, {"rank": -1}, {"rank": 1.5}, {"rank": "8"}, {"rank": True}, {"rank": None}, {"rank": {}},
        {"rank": [[1]]}, {"rank": []}, {"rank": float("inf")}, {"alpha": 0}, {"alpha": -1}, {"alpha": "x"},
        {"alpha": float("inf")}, {"alpha": float("nan")}, {"alpha": [1, float("inf")]}, {"alpha": True},
        {"dropout": 1}, {"dropout": -0.1}, {"dropout": float("nan")}, {"start": "kaimin"}, {"start": 1},
        {"targets": 5}, {"targets": None}, {"targets": [5]}, {"targets": []}, {"label": 5}, {"label": ["a", "b"]},
    ],
)  # fmt: skip
def test_a_setting_that_a_method_cannot_use_is_refused_with_its_line_and_name(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    text = yaml.safe_dump({**BASE, "methods": [{"name": "lora", **entry}]}, default_flow_style=False, sort_keys=False)
    with pytest.raises(InputError) as caught:
        read_recipe(write(tmp_path, text))
    (key,) = entry
    line = next(number for number, one in enumerate(text.splitlines(), start=1) if one.strip().startswith(f"{key}:"))
    assert f"recipe.yaml:{line}: " in str(caught.value) or f"{key}=" in str(caught.value)
    assert key in str(caught.value)


def test_the_nearest_words_of_a_setting_are_told(tmp_path: Path) -> None:
    message = refusal(tmp_path, methods=[{"name": "d2lora", "minus": "no"}])
    assert "method d2lora minus: Input should be 'train', 'detach' or 'off' (found 'no')" in message


def test_every_wrong_value_is_told_at_once(tmp_path: Path) -> None:
    message = refused_text(tmp_path, "data: {max_length: 2}\ncluster: {workers: 0}")
    assert ":5: data.max_length: " in message
    assert ":6: cluster.workers: " in message


def test_a_global_batch_that_does_not_divide_is_refused_with_the_numbers(tmp_path: Path) -> None:
    message = refusal(tmp_path, optim={"global_batch": 64, "micro_batch": 4}, cluster={"workers": 3})
    assert "global_batch=64 is not a multiple of workers * micro_batch = 3 * 4 = 12." in message


def test_one_process_cannot_be_several_workers(tmp_path: Path) -> None:
    message = refusal(tmp_path, engine={"kind": "plain"}, cluster={"workers": 2})
    assert "engine.kind=plain trains in one process, but cluster.workers=2: use zero or auto." in message


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"seeds": [0, 1, 0]}, "seeds: seed 0 stands here twice"),
        ({"seeds": [2**63]}, "seeds.0: Input should be less than"),
        ({"optim": {"lr": [1e-4, 2e-4, 0.0001]}}, "repeats a rate"),
        ({"tasks": ["boolq", "boolq"]}, "task 'boolq' stands here twice"),
        ({"methods": ["lora", "lora"]}, "two entries are called 'lora': give one a label"),
        ({"methods": [{"name": "lora", "label": "a"}, {"name": "lora", "label": "a", "rank": 2}]}, "are called 'a'"),
        ({"methods": ["lora", {"name": "lora", "label": "b"}]}, "'b' has the same settings as 'lora'"),
        ({"methods": [{"name": "lora", "alpha": 16.0}, {"name": "lora", "label": "b"}]}, "has the same settings as"),
        ({"methods": [{"name": "lora", "rank": [4, 4]}]}, "two entries are called"),
    ],
)
def test_what_would_be_the_same_run_twice_is_refused(tmp_path: Path, changes: dict[str, Any], wanted: str) -> None:
    assert wanted in refusal(tmp_path, **changes)


UNSAFE = [
    "", ".", "..", "../x", "../../escaped", "a/b", "/etc", "/", "a/../b", "~", "~/x", "a\\b", "..\\x", "C:\\x",
    "a\0b", "a\nb", "a\n", "\ta", " a", "a ", "a b", "%2e%2e", "%2e", "-rf", "--help", "_a", "CON", "NUL", "aux.txt",
    "a.b", "a:b", "a;b", "a|b", "a&b", "$(id)", "`id`", "$HOME", "a*", "a?", "a'b", 'a"b', "\u202eabc", "\uff41\uff42",
    "é", "a\u200bb", "A", "a" * 65, "a\r", "{}", "!x", "#a", "a\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("where", ["the sweep", "a task"])
def test_a_name_that_could_leave_the_storage_root_is_refused(tmp_path: Path, where: str, name: str) -> None:
    quoted = '"' + "".join(f"\\U{ord(letter):08x}" for letter in name) + '"'
    own = f"name: {quoted}, path: own.jsonl" if where == "a task" else "name: own, path: own.jsonl"
    sweep = quoted if where == "the sweep" else "mine"
    path = write(tmp_path, f"name: {sweep}\ntasks:\n- {{{own}}}\nmethods: [lora]\nseeds: [0]\n")
    with pytest.raises(InputError, match=f"recipe.yaml:{1 if where == 'the sweep' else 3}: "):
        read_recipe(path)


@pytest.mark.parametrize("name", ["a", "0", "paper-llama", "a_b-c", "a" * 64, "con"])
def test_plain_names_are_accepted(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name=name, tasks=[{"name": name, "path": "own.jsonl"}]).name == name


@pytest.mark.parametrize("escape", ["\\0", "\\n", "\\r", "\\x1b", "\\u202e", "\\ud800", "\\u2028"])
def test_a_value_that_hides_something_is_refused_wherever_it_stands(tmp_path: Path, escape: str) -> None:
    assert "recipe.yaml:5: " in refused_text(tmp_path, f'storage: "a{escape}b"')


# -- what is no recipe


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("name: twice", ":5: key 'name' stands in line 1 already."),
        ("optim:\n  lr: 1e-4\n  clip: 1\n  lr: 2e-4", ":8: key 'lr' stands in line 6 already."),
        ("data: &d {max_length: 8}\noptim: *d", ":6: not valid YAML: an alias"),
        ("data: &d {a: &d2 [x]}\nstorage: *d2", ":6: not valid YAML: an alias"),
        ("storage: !!python/object/apply:os.system [id]", ":5: not valid YAML: tags like "),
        ("storage: !!python/object:os.system x", ":5: not valid YAML: tags like "),
        ("storage: !!python/name:os.system", ":5: not valid YAML: tags like "),
        ("storage: !own x", ":5: not valid YAML: tags like !own"),
        ("storage: ! x", ":5: not valid YAML: tags like !"),
        ("storage: !!binary aGk=", ":5: not valid YAML: tags like "),
        ("champions: !!bool x", ":5: not valid YAML: tags like "),
        ("storage: !!timestamp x", ":5: not valid YAML: tags like "),
        ("storage: !!set {a, b}", ":5: not valid YAML: tags like "),
        ("optim: {lr: !!float x}", ":5: not valid YAML: tags like "),
        ("? [a]\n: b", ":5: a key is a word, not "),
        ("1: b", ":5: a key is a word, not '1'."),
        ("true: b", ":5: a key is a word, not 'true'."),
        ("~: b", ":5: a key is a word, not '~'."),
        ("---\nname: other", ":5: not valid YAML: but found another document: remove the line ---"),
        ("storage:\tx\n\tdata: y", "not valid YAML: "),
        ("optim:\n\tlr: 1e-4", ":6: not valid YAML: "),
        ("optim: {lr: 1e-4", "not valid YAML: "),
        ("storage: 'open", "not valid YAML: "),
        ("storage: [a", "not valid YAML: "),
        ("- a", ":5: not valid YAML: "),
        ("storage: @x", ":5: not valid YAML: "),
        ("storage: \x00", ":5: not text: character 0x0."),
        ("storage: \x1b[31m", ":5: not text: character 0x1b."),
        ('storage: "\\UFFFFFFFF"', "not valid YAML: "),
        ("data: {split_seed: " + "9" * 5000 + "}", ":5: a number of 5000 digits (limit 100)."),
        ("optim: {lr: 1e99999}", ":5: optim.lr: Input should be a finite number"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(tmp_path: Path, more: str, wanted: str) -> None:
    message = refused_text(tmp_path, more)
    assert wanted in message
    assert message.startswith(str(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "recipe.yaml:1: a recipe is a mapping of keys, not nothing. Write keys and values"),
        (b"# only a comment\n", "not nothing."),
        (b"- a\n", "not a list."),
        (b"word", "not a text."),
        (b"\xff\xfe" + "name: a".encode("utf-16-le"), "recipe.yaml:1: not UTF-8 text"),
        (b"name: a\nstorage: \xe9\n", "recipe.yaml:2: not UTF-8 text (invalid continuation byte at byte 17)."),
        (b"a: " + b"x" * 2_000_000, "2000003 bytes are no recipe (limit 100000)."),
        (b"[" * 50_000, ":1: not valid YAML: nested more than 50 deep"),
        (b"{a: " * 20_000, ":1: not valid YAML: nested more than 50 deep"),
        (b"- " * 50_000, "nested "),
        (b"[" * 51, ":1: not valid YAML: nested more than 50 deep"),
        (b"a: [" + b"1," * 8_000 + b"]", ":1: not valid YAML: more than 8,000 keys and values: make several"),
    ],
)
def test_what_is_no_recipe_at_all_is_refused(tmp_path: Path, content: bytes, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write(tmp_path, content))
    assert wanted in str(caught.value)


def test_a_bomb_of_aliases_and_a_bomb_of_grids_are_refused_at_once(tmp_path: Path) -> None:
    layers = ["a0: &a0 [lol, lol]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    start = time.process_time()
    assert "an alias" in refused_text(tmp_path, "\n".join(layers))
    axis = str(list(range(1, 201)))
    word = f"methods=[{{name: lora, rank: {axis}, alpha: {axis}, dropout: {axis}}}]"
    message = refusal(tmp_path, word)
    assert "the grids have 8000000 points (limit 1000)." in message
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", ["missing.yaml", "a" * 300, "a\0b", "folder"])
def test_a_recipe_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    write(tmp_path, "name: a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"There is no recipe .*Beside it: recipe\.yaml"):
        read_recipe(tmp_path / name)


def test_an_error_survives_the_journey_to_another_process(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "optim.lrr=1")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_of_ones_own_says_where_its_choices_stand_and_from_where_its_answers_count(tmp_path: Path) -> None:
    entry = {"name": "mine", "path": "mine.jsonl", "choices": ["a", "b"], "answer_base": 1}
    (task,) = read(tmp_path, tasks=[entry]).tasks
    made = make_task(**task.model_dump())
    row = {"question": "q", "a": "red", "b": "green", "answer": "2"}
    assert made.example(row).choices[made.example(row).answer] == " green"


@pytest.mark.parametrize(
    ("key", "value"),
    [("choices", ["a"]), ("choices", []), ("choices", [1, 2]), ("choices", ["a", "a"]), ("answer_base", 2)],
)
def test_a_wrong_word_about_a_file_of_ones_own_is_refused_with_its_key(key: str, value: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, tasks=[{"name": "mine", "path": "mine.jsonl", key: value}])
    assert f": tasks.0.{key}: " in message
    assert "\n" not in message


@pytest.mark.parametrize("section", ["{kind: tpe, trials: 2}", "{kind: racing, first: 5}", "{kind: asha, rung: 500}"])
def test_a_word_for_another_kind_of_search_drops_the_keys_of_the_first_kind(tmp_path: Path, section: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"name: mine\ntasks: [tiny_recall]\nmethods: [lora, dora]\nseeds: [0, 1, 2, 3, 4, 5]\nsearch: {section}\n"
    )
    assert read_recipe(recipe, ["search.kind=grid"]).search.kind == "grid"
    assert read_recipe(recipe, ["search.kind=tpe", "search.trials=2"]).search.kind == "tpe"


@pytest.mark.parametrize("depth", [48, 50, 200])
def test_a_recipe_is_nested_to_50_and_no_deeper(tmp_path: Path, depth: int) -> None:
    """Within the limit the value itself is refused, beyond it the nesting."""
    message = refused_text(tmp_path, "storage: " + "[" * depth + "]" * depth)
    assert ("nested more than 50 deep" in message) == (depth >= 50)


def test_only_the_head_of_a_large_file_is_read(tmp_path: Path) -> None:
    """A gigabyte of a sparse file would not fit into the memory that a test may take."""
    import tracemalloc

    with (tmp_path / "recipe.yaml").open("wb") as file:
        file.truncate(2**30)
    tracemalloc.start()
    with pytest.raises(InputError, match="1073741824 bytes are no recipe"):
        read_recipe(tmp_path / "recipe.yaml")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_product_of_axes_beyond_200000_runs_is_refused_with_its_factors(tmp_path: Path) -> None:
    axis = str(list(range(1000)))
    message = refusal(tmp_path, f"seeds={{init: {axis}, data: {axis}}}")
    assert "x 1,000,000 seeds are " in message
    assert "more than 200,000: make several sweeps of them." in message
