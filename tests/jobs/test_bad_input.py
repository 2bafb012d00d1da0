"""Bad input ends with exit code 2 and one clear message, before anything has started."""

from __future__ import annotations

from pathlib import Path

import pytest

import jobs.sweep
from jobs.command import run_job

CASES = {
    "an unknown key": (
        ["optim.lrr=1e-3"],
        r"argument 'optim.lrr=1e-3': Unknown key 'optim.lrr'. Did you mean 'optim.lr'?",
    ),
    "an unknown method": (
        ["methods=[dorra]"],
        "Unknown method 'dorra'. Did you mean 'dora'? Known: d2lora, dora, lora.",
    ),
    "an unknown task": (["tasks=[tiny_recal]"], "Unknown task 'tiny_recal'. Did you mean 'tiny_recall'?"),
    "an unknown setting": (["methods=[{name: lora, rnk: 2}]"], "Unknown setting 'rnk'. Did you mean 'rank'?"),
    "a negative rank": (["methods=[{name: lora, rank: -1}]"], "rank=-1 is not positive"),
    "a list where a number belongs": (
        ["optim.epochs=[1, 2]"],
        "optim.epochs: Input should be a valid number (found [1, 2])",
    ),
    "a rank larger than a layer": (
        ["methods=[{name: lora, rank: 48}]"],
        "rank=48 is larger than the smaller side of a 32 x 64 weight: use rank <= 32",
    ),
    "targets that match nothing": (["model.targets=*.c_attn"], "Target '*.c_attn' matches no linear layer"),
    "a model that is not there": (["model.path=/nowhere"], "model.path=/nowhere is not a directory with a model."),
    "a mirror that is not there": (
        ["tasks=[arc_easy]", "data.mirror=/nowhere"],
        "data.mirror=/nowhere is not a folder",
    ),
    "batches that do not fit": (
        ["optim.global_batch=12"],
        "global_batch=12 is not a multiple of workers * micro_batch",
    ),
    "a word that is no override": (["optim.lr"], "'optim.lr' is not key=value"),
}


def ends_with_2(recipe: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the job; return its message after checking that it is alone and that nothing was started."""
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words]) == 2
    output = capsys.readouterr().err
    assert "Traceback" not in output
    assert not list(recipe.parent.glob("sweeps/small/runs"))
    assert not (recipe.parent / "mlflow.db").exists()
    return output


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_message_and_exit_code_2(name: str, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, message = CASES[name]
    assert message in ends_with_2(recipe, words, capsys)


def test_a_recipe_that_is_not_there_names_those_beside_it(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ends_with_2(recipe.with_name("smal.yaml"), [], capsys)
    assert "There is no recipe" in output
    assert "small.yaml" in output


def test_a_key_in_the_file_is_named_with_its_line(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("engine: {kind: plain}", "engnie: {kind: plain}"))
    line = recipe.read_text().splitlines().index("engnie: {kind: plain}") + 1
    output = ends_with_2(recipe, [], capsys)
    assert f"small.yaml:{line}: Unknown key 'engnie'. Did you mean 'engine'?" in output


def test_a_model_without_weights_says_what_is_there(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hollow"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    output = ends_with_2(recipe, [f"model.path={folder}"], capsys)
    assert f"{folder} holds no model: config.json and model.safetensors (or model.safetensors.index.json)" in output
    assert "are needed, there is config.json." in output


def test_a_bad_row_of_ones_own_is_named_with_file_and_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.jsonl"
    rows = [f'{{"q": "question {n}", "options": ["a{n}", "b{n}"], "label": 0}}\n' for n in range(30)]
    rows[11] = rows[11].replace('"label": 0', '"label": 7')
    mine.write_text("".join(rows))
    task = f"tasks=[{{name: mine, path: {mine}, question: q, choices: options, answer: label}}]"
    assert "mine.jsonl:12: " in ends_with_2(recipe, [task], capsys)


def test_a_file_with_two_faults_is_a_sweep_after_the_advice_of_both_messages(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column per choice, answers that count from 1; skipping bad rows changes neither message."""
    mine = tmp_path / "mine.jsonl"
    rows = [f'{{"question": "q {n}", "a": "yes {n}", "b": "no {n}", "answer": {n % 2 + 1}}}\n' for n in range(40)]
    mine.write_text("".join(rows))
    settings = "methods=[lora] seeds=[0] champions=false tracking.uri=none data.bad_rows=skip data.append_eos=true"

    def words(advised: str) -> list[str]:
        return [f"tasks=[{{name: mine, path: {mine}{advised}}}]", *settings.split(" ")]

    advised = ""
    for advice in ("choices: [a, b]", "answer_base: 1"):
        assert f"write {advice} in the task's entry." in ends_with_2(recipe, words(advised), capsys)
        advised += f", {advice}"
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words(advised)]) == 0
