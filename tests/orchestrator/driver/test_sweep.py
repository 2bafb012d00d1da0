"""A whole sweep in one process: what it leaves, what a second one does, and what one bad run costs."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch

import jobs.merge
from jobs.command import run_job
from orchestrator.errors import HeldError, InputError
from orchestrator.files import read_json, read_lines, sha256_of, write_json
from orchestrator.recipe.read import read_recipe
from orchestrator.store.lease import hold
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.sweeps import RUNS, rows_of, run

ROW_KEYS = [
    "run_key",
    "task",
    "method",
    "settings",
    "lr",
    "seed",
    "status",
    "accuracy",
    "accuracy_norm",
    "ties",
    "eval_loss",
    "train_loss",
    "train_loss_volatility",
    "train_loss_change",
    "steps",
    "tokens",
    "train_seconds",
    "trainer",
    "trainable_parameters",
    "mlflow_run_id",
]
EVALUATION_KEYS = [
    "accuracy_merged",
    "accuracy_unmerged",
    "gap_points",
    "item_flips",
    "largest_logit_difference",
    "examples_per_second_merged",
    "examples_per_second_unmerged",
]


def adapters(folder: Path) -> dict[str, str]:
    return {path.parts[-3]: sha256_of(path) for path in folder.glob("runs/*/adapter/adapter.safetensors")}


def test_a_sweep_leaves_all_that_the_interface_names_and_a_second_one_trains_nothing(recipe: Path) -> None:
    code, output, folder = run(recipe)
    assert code == 0, output
    rows = rows_of(folder)
    assert len(rows) == RUNS
    for row in rows:
        assert set(ROW_KEYS) <= row.keys()
        assert row["status"] == "committed"
        assert row["mlflow_run_id"]
        place = folder / "runs" / row["run_key"]
        RunFolder(place).verify()
        assert [attempt.name for attempt in place.glob("attempt-*")] == ["attempt-1"]
        predictions = read_lines(folder / "predictions" / f"{row['run_key']}.jsonl")
        assert [one["index"] for one in predictions] == list(range(24))
        assert row["accuracy"] == sum(one["predicted"] == one["answer"] for one in predictions) / 24
        assert {"norm_drift_mean", "radial_share", "merge_gap"} <= row["diagnostics"].keys()
        best = [max(range(len(one["scores"])), key=one["scores"].__getitem__) for one in predictions]
        assert best == [one["predicted"] for one in predictions]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["tasks"]["tiny_recall"]["methods"]["d2lora"]["n"] == 2
    assert "d2lora" in (folder / "report.html").read_text()
    for task in ("tiny_recall", "tiny_above"):
        evaluation = json.loads((folder / "champions" / task / "evaluation.json").read_text())
        assert set(EVALUATION_KEYS) <= evaluation.keys()
        assert abs(evaluation["item_flips"]) <= 1
        assert evaluation["largest_logit_difference"] < 1e-3
    assert {"recipe", "versions", "commit", "data"} <= json.loads((folder / "sweep.json").read_text()).keys()

    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/**/*")}
    code, output, _ = run(recipe)
    assert code == 0
    assert "8 done already, 0 to train" in output
    assert "merging" not in output
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/**/*")} == before


def test_a_champion_opens_with_transformers_alone(recipe: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, _, folder = run(recipe, "tasks=[tiny_recall]")
    place = folder / "champions" / "tiny_recall"
    model = AutoModelForCausalLM.from_pretrained(place)
    assert not [name for name, _ in model.named_parameters() if "up_plus" in name or "lora" in name]
    ids = AutoTokenizer.from_pretrained(place)("Question", return_tensors="pt").input_ids
    assert model(ids).logits.isfinite().all()


def test_runs_of_another_format_are_told_left_alone_and_not_taken_up(recipe: Path) -> None:
    words = ("champions=false", "tasks=[tiny_recall]", "tracking.uri=none")
    _, output, folder = run(recipe, *words)
    assert "of another version" not in output
    old = folder / "runs" / "0123456789abcdef"
    old.mkdir()
    spec = read_json(next(folder.glob("runs/*/run.json")))
    write_json(old / "run.json", {name: value for name, value in spec.items() if name != "format"})
    write_json(old / "COMMITTED.json", {})
    code, output, _ = run(recipe, *words)
    assert code == 0
    assert f"1 run in {folder / 'runs'} of another version, whose results are not comparable: not taken up" in output
    assert (old / "COMMITTED.json").exists()
    assert len(rows_of(folder)) == 4


def test_a_merge_after_an_upgrade_leaves_the_tables_of_the_older_version_as_they_are(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("champions=false", "tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]")
    _, _, folder = run(recipe, *words)
    for file in folder.glob("runs/*/run.json"):  # what an upgrade does: older runs have other keys
        write_json(file, read_json(file) | {"format": 0})
        file.parent.rename(file.parent.with_name("0123456789abcdef"))
    tracked = recipe.parent / "mlflow.db"
    kept = {file: file.read_bytes() for file in (*folder.glob("*.*"), tracked) if not file.name.startswith(".")}
    assert {"results.jsonl", "summary.json", "sweep.json", "report.html"} <= {file.name for file in kept}
    monkeypatch.setattr("jobs.command.begin_again_if_ascii", lambda: None)
    assert run_job("merge", "", jobs.merge.main, [str(recipe), *words]) == 2
    output = " ".join(capsys.readouterr().err.split())
    assert "nothing of this version is committed here; first: python jobs/sweep.py" in output
    assert {file: file.read_bytes() for file in kept} == kept
    assert run(recipe, *words)[0] == 0  # the remedy


@pytest.mark.slow
def test_the_same_sweep_elsewhere_gives_the_same_adapters_however_it_is_packed(recipe: Path, tmp_path: Path) -> None:
    _, _, first = run(recipe, "champions=false")
    _, _, again = run(recipe, "champions=false", f"storage={tmp_path}/again")
    assert adapters(first) == adapters(again)
    assert len(adapters(first)) == RUNS
    _, _, solo = run(recipe, "champions=false", f"storage={tmp_path}/solo", "cluster.pack=1")
    assert adapters(solo).keys() == adapters(first).keys()
    for one, other in zip(rows_of(first), rows_of(solo), strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)


def test_diagnostics_can_be_switched_off_and_change_no_adapter(recipe: Path, tmp_path: Path) -> None:
    words = ("tasks=[tiny_recall]", "champions=false", "tracking.uri=none")
    _, _, looked = run(recipe, *words)
    _, _, not_looked = run(recipe, *words, f"storage={tmp_path}/other", "engine.diagnostics=false")
    assert [row["diagnostics"] for row in rows_of(not_looked)] == [None] * 4
    assert all(row["diagnostics"] for row in rows_of(looked))
    assert adapters(looked) == adapters(not_looked)


@pytest.mark.slow
def test_a_run_that_diverges_ends_alone_is_told_and_is_not_trained_again(recipe: Path) -> None:
    words = ("methods=[{name: lora, rank: 4, alpha: 8}, {name: d2lora, rank: 2, alpha: 1.0e+38}]", "cluster.pack=8")
    code, output, folder = run(recipe, *words)
    assert code == 0, output  # a diverged run is a result
    by_status = {
        status: [row for row in rows_of(folder) if row["status"] == status] for status in ("committed", "diverged")
    }
    assert {row["method"] for row in by_status["committed"]} == {"lora"}
    assert len(by_status["committed"]) == len(by_status["diverged"]) == 4
    for row in by_status["diverged"]:
        assert row["accuracy"] is None
        assert "stopped being finite at step" in row["error"]
        assert not (folder / "runs" / row["run_key"] / "adapter").exists()
    assert "diverged" in output
    assert (
        json.loads((folder / "summary.json").read_text())["tasks"]["tiny_recall"]["methods"]["d2lora"]["diverged"] == 2
    )
    code, output, _ = run(recipe, *words)
    assert code == 0
    assert "0 to train" in output


@pytest.mark.slow
def test_a_run_that_cannot_be_trained_fails_by_itself_and_is_trained_when_the_cause_is_gone(recipe: Path) -> None:
    spec = read_recipe(recipe)
    _, _, folder = run(recipe, "champions=false")
    victim = rows_of(folder)[2]["run_key"]
    for path in folder.glob("runs/*"):
        shutil.rmtree(path)
    (folder / "runs" / victim).write_text("a file where a folder must be")
    code, output, _ = run(recipe)
    assert code == 1
    rows = {row["run_key"]: row for row in rows_of(folder)}
    assert rows[victim]["status"] == "failed"
    assert "FileExistsError" in rows[victim]["error"] or "NotADirectoryError" in rows[victim]["error"]
    assert [row["status"] for key, row in rows.items() if key != victim] == ["committed"] * (RUNS - 1)
    assert "failed" in output
    (folder / "runs" / victim).unlink()
    code, output, _ = run(recipe)
    assert code == 0
    assert "7 done already, 1 to train" in output
    assert spec.seeds == [0, 1]


@pytest.mark.slow
def test_a_damaged_commit_is_noticed_said_and_trained_again(recipe: Path) -> None:
    alone = ("champions=false", "cluster.pack=1")  # a pack of other lanes may round otherwise
    _, _, folder = run(recipe, *alone)
    before = adapters(folder)
    place = next(folder.glob("runs/*/adapter/adapter.safetensors"))
    content = bytearray(place.read_bytes())
    content[-3] ^= 1
    place.write_bytes(content)
    code, output, _ = run(recipe, *alone)
    assert code == 0
    assert "damaged" in output
    assert "7 done already, 1 to train" in output
    assert adapters(folder) == before


@pytest.mark.slow
def test_mlflow_shows_sweep_groups_and_runs_once(recipe: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    _, _, folder = run(recipe)
    run(recipe)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = {kind: [one for one in runs if one.data.tags.get("kind") == kind] for kind in ("sweep", "group", "run")}
    assert [len(kinds[kind]) for kind in ("sweep", "group", "run")] == [1, 4, RUNS]
    assert all(one.info.status == "FINISHED" and one.info.end_time for one in runs)
    parents = {one.info.run_id for one in kinds["group"]}
    assert {one.data.tags["mlflow.parentRunId"] for one in kinds["run"]} == parents
    assert {one.info.run_name for one in kinds["group"]} >= {"d2lora · tiny_recall", "lora · tiny_above"}
    assert {one.data.tags["mlflow.parentRunId"] for one in kinds["group"]} == {kinds["sweep"][0].info.run_id}
    rows = {row["run_key"]: row for row in rows_of(folder)}
    for one in kinds["run"]:
        row = rows[one.data.tags["run_key"]]
        assert row["mlflow_run_id"] == one.info.run_id
        assert one.data.metrics["accuracy"] == row["accuracy"]
        shown = {name: value for name, value in one.data.metrics.items() if name.startswith("diagnostics/")}
        assert shown == {f"diagnostics/{name}": value for name, value in row["diagnostics"].items()}
        assert (one.data.tags["task"], one.data.tags["method"], one.data.tags["seed"]) == (
            row["task"],
            row["method"],
            str(row["seed"]),
        )
        steps = [point.step for point in client.get_metric_history(one.info.run_id, "train_loss")]
        assert sorted(steps) == list(range(row["steps"]))
    tasks = json.loads((folder / "summary.json").read_text())["tasks"]
    for one in kinds["group"]:
        figures = tasks[one.data.tags["task"]]["methods"][one.data.tags["method"]]
        interval = {"interval_low", "interval_high"} if figures["interval"] else set()  # equal seeds have none
        assert {"mean_accuracy", "sd_accuracy", "worst_accuracy", "volatility"} | interval <= one.data.metrics.keys()
    artifacts = {item.path for item in client.list_artifacts(kinds["sweep"][0].info.run_id)}
    assert {"report.html", "summary.json"} <= artifacts
    for task in ("tiny_recall", "tiny_above"):
        champion = client.get_model_version_by_alias(f"small-{task}", "champion")
        assert champion.version in (1, "1")
        assert Path(champion.source.removeprefix("file://")).is_dir()


@pytest.mark.slow
def test_the_zero_engine_in_one_process_agrees_with_the_plain_one(recipe: Path, tmp_path: Path) -> None:
    words = ("champions=false", "tasks=[tiny_recall]", "tracking.uri=none")
    _, _, plain = run(recipe, *words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DeepSpeed calls what torch has deprecated; its warnings are not ours to fix
        code, output, zero = run(recipe, *words, f"storage={tmp_path}/zero", "engine.kind=zero", "engine.stage=2")
    torch.distributed.destroy_process_group()
    assert code == 0, output
    for one, other in zip(rows_of(plain), rows_of(zero), strict=True):
        assert one["run_key"] == other["run_key"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert one["accuracy"] == other["accuracy"]


@pytest.mark.parametrize(
    ("word", "message"),
    [("model.path=missing", "missing"), ("methods=[{name: lora, rank: 999, alpha: 8}]", "rank"), ("tasks=[{name: mine, "
      "path: missing.jsonl, question: q, choices: c, answer: a}]", "missing.jsonl")],
)  # fmt: skip
def test_a_base_a_rank_or_rows_that_cannot_be_are_refused_before_ray_starts(
    recipe: Path, word: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    opened: list[object] = []
    monkeypatch.setattr("orchestrator.driver.services.open_cluster", lambda *given: opened.append(given))
    with pytest.raises(InputError, match=message):
        run(recipe, "cluster.kind=ray", word)
    assert opened == []


def test_two_drivers_of_one_sweep_are_one_too_many(recipe: Path) -> None:
    spec = read_recipe(recipe)
    with hold(Path(spec.storage) / spec.name), pytest.raises(HeldError, match=r"in use by process \d+"):
        run(recipe)


def test_the_folder_of_a_sweep_is_where_its_recipe_says(recipe: Path, tmp_path: Path) -> None:
    assert SweepFolder.of(read_recipe(recipe, ["name=other"])).path == tmp_path / "sweeps" / "other"
