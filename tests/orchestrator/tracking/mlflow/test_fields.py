"""What a tracker shows: names that it takes, and descriptions that reproduce what they describe."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from mlflow.utils.validation import _validate_metric_name

from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.inputs import DIGEST, base_model, data_sets
from tests.helpers.tracked.tracked_sweep import SIZES, SWEEP

RECIPE = """
name: wide
tasks: [boolq, {name: mine, path: mine.jsonl, question: what}]
methods:
  - {name: d2lora, rank: [2, 4], alpha: 4, dropout: 0.05}
  - {name: lora, rank: 8, targets: "*.q_proj,*.v_proj", label: control}
seeds: [0, 7, 9, 11]
search: {kind: racing, alpha: 0.1}
optim: {lr: [1.0e-4, 2.5e-5], epochs: 1}
tracking: {uri: none}
"""


def test_the_description_of_a_run_makes_that_run_alone_and_leaves_the_sweep_as_it_is(tmp_path: Path) -> None:
    recipe = tmp_path / "wide.yaml"
    recipe.write_text(RECIPE)
    given = ["optim.epochs=3", "seeds=[0, 7, 9, 13]"]
    command = shlex.join(["python", "jobs/sweep.py", str(recipe), *given])
    sweep = read_recipe(recipe, given)
    data = {"boolq": "data", "mine": "other"}
    planned = keyed(expand(sweep), "base", data)
    assert len(planned) == 48
    for run in planned:
        note = fields.tags(run, command)["mlflow.note.content"]
        words = shlex.split(note.split("```")[1])
        assert words[:3] == ["python", "jobs/sweep.py", str(recipe)]
        again = read_recipe(recipe, words[3:])
        assert [one.key for one in keyed(expand(again), "base", data)] == [run.key]
        assert again.name != sweep.name


@pytest.mark.parametrize("label", ["d2lora(rank=2,alpha=4)", "lora, rank=8", "größe", "a%b", "plain"])
def test_a_method_of_any_label_has_an_average_that_mlflow_takes(label: str) -> None:
    summary = {"macro": {"methods": {label: {"mean": 0.5}, "lost": {"mean": None}}}}
    ((name, value),) = fields.averages(summary).items()
    _validate_metric_name(name)
    assert value == 0.5


def test_labels_that_differ_in_a_setting_have_names_that_differ() -> None:
    assert fields.metric_name("macro.d2lora(rank=2,alpha=4)") == "macro.d2lora rank:2 alpha:4"
    assert fields.metric_name("macro.lora") == "macro.lora"


def test_a_parent_says_how_sure_it_is_and_what_was_lost() -> None:
    one = {"mean": 0.712, "interval": [0.70, 0.724], "n": 3, "diverged": 1, "failed": 0, "stopped": 0, "lr": 2e-4}
    assert fields.group_summary_tags("boolq", "lora", one) == {
        "lr": "0.0002",
        "mlflow.note.content": "lora on boolq: 71.2 % mean accuracy (95 % interval 70.0 to 72.4) over 3 seeds; "
        "1 diverged, at rate 2e-4, chosen on validation.",
    }
    alone = fields.group_summary_tags("boolq", "lora", one | {"n": 1, "interval": None, "diverged": 0})
    assert "interval" not in alone["mlflow.note.content"]
    beaten = fields.group_summary_tags("boolq", "lora", one | {"interval": None, "diverged": 0, "stopped": 2})
    assert "over 3 seeds; 2 stopped, at rate" in beaten["mlflow.note.content"]


def summary_of(tasks: int, methods: int) -> dict[str, Any]:
    one = {"mean": 0.712, "interval": [0.70, 0.724], "n": 3, "diverged": 1, "failed": 1, "stopped": 0}
    alone = {"mean": 0.6, "interval": None, "n": 1, "diverged": 0, "failed": 0, "stopped": 2}
    gone = alone | {"mean": None}
    named = {f"m{index}|x": (one, alone, gone)[index % 3] for index in range(methods)}
    return {"headline": "m0 leads.", "tasks": {f"task{index}": {"methods": named} for index in range(tasks)}}


def test_the_description_of_a_sweep_begins_with_its_command_and_headline_and_has_every_mean() -> None:
    note = fields.sweep_note("s", summary_of(2, 3), "python jobs/sweep.py r.yaml", "#/experiments/7/runs")
    lines = note.splitlines()
    assert lines[:3] == ["`python jobs/sweep.py r.yaml`", "", "m0 leads."]
    (charts,) = [line for line in lines if line.startswith("[")]
    query = parse_qs(charts.partition("?")[2].partition(")")[0])
    assert query["searchFilter"] == ["tags.sweep = 's' and tags.kind = 'group'"]
    assert "(#/experiments/7/runs?" in charts
    assert lines[-5:] == [
        "| method | task0 | task1 |",
        "| --- | --- | --- |",
        "| m0/x | 71.2 % (70.0 to 72.4), n 3, 2 lost | 71.2 % (70.0 to 72.4), n 3, 2 lost |",
        "| m1/x | 60.0 %, n 1, 2 stopped | 60.0 %, n 1, 2 stopped |",
        "| m2/x | \N{EN DASH} | \N{EN DASH} |",
    ]


def test_a_table_that_mlflow_would_cut_is_left_out() -> None:
    note = fields.sweep_note("s", summary_of(8, 60), "python jobs/sweep.py r.yaml", "#/experiments/7/runs")
    assert len(note) <= fields.LONGEST
    assert "m0 leads." in note
    assert "| method |" not in note


def test_a_run_shows_what_its_trainer_used_and_an_older_one_shows_nothing() -> None:
    used = {"peak_memory_megabytes": 512.5, "cpu_seconds": 7.25, "runs": 4}
    assert fields.scores({"accuracy": 0.5, "trainer": used}) == {
        "accuracy": 0.5,
        "system/trainer_peak_memory_megabytes": 512.5,
        "system/trainer_cpu_seconds": 7.25,
        "system/trainer_runs": 4.0,
    }
    assert fields.scores({"accuracy": 0.5, "trainer": None}) == {"accuracy": 0.5}


def test_inputs_come_from_fingerprints_and_split_sizes_alone() -> None:
    sweep = {"command": "c", "base": "b" * 64, "data": {"boolq": {"fingerprint": "d" * 64, **SIZES}}}
    data = data_sets(sweep)["boolq"]
    assert (data.name, data.digest) == ("boolq", "d" * DIGEST)
    assert '"num_rows": 118' in data.profile
    model = {"name": "tiny", "path": "/models/Some Base 1.5%/"}
    base = base_model(sweep | {"recipe": {"model": model}})
    assert base is not None
    assert (base.name, base.digest) == ("base-Some-Base-1-5-", "b" * DIGEST)
    assert base_model({}) is None
    assert SWEEP.model_dump()["model"].keys() >= model.keys()


def test_labels_that_mlflow_would_read_as_one_keep_metrics_of_their_own() -> None:
    labels = ["a+b", "a!b", "A?b", "a_b 2", "lora(rank=2)", "lora rank:2", "other"]
    summary = {"macro": {"methods": {label: {"mean": index} for index, label in enumerate(labels)}}}
    values = fields.averages(summary)
    assert list(values.values()) == list(range(len(labels)))
    assert len({name.casefold() for name in values}) == len(labels)
    assert fields.averages(summary) == values
    assert values["macro.other"] == 6
    assert values["macro.a_b 2"] == 3  # the label "a_b 2" keeps its name: no numbered label gets that name


def test_a_statistic_that_new_runs_made_void_becomes_nan_once() -> None:
    shown = {"interval_low": 0.3, "interval_high": math.nan, "mean_accuracy": 0.5, "loss": 1.0}
    void = fields.void_statistics(shown, {"mean_accuracy": 0.4})
    assert list(void) == ["interval_low"]
    assert math.isnan(void["interval_low"])


def test_a_row_that_says_what_made_its_run_and_how_often_it_was_broken_off_has_that_as_tags() -> None:
    made = {"commit": "ab12", "versions": {"torch": "2.13"}, "world": 2, "host": None}
    tags = fields.end_tags("committed", {"made_by": made, "resumed": [10, 30]})
    assert tags == {
        "status": "committed",
        "resumed": "2",
        "resumed_at_steps": "10, 30",
        "made_by.commit": "ab12",
        "made_by.versions.torch": "2.13",
        "made_by.world": "2",
        "mlflow.source.git.commit": "ab12",
    }
    assert fields.end_tags("committed", {"resumed": [], "made_by": None}) == {"status": "committed"}
