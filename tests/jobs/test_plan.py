"""`plan` says what would run; it starts nothing, loads nothing heavy, and its JSON is for scripts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jobs.plan
from jobs.command import run_job
from orchestrator.driver.spending import budget_of
from orchestrator.estimate.resources import PARTS
from orchestrator.recipe.read import read_recipe
from orchestrator.statistics.power import seeds_needed, smallest_detectable_difference
from tests.helpers.places import ROOT

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
HEAVY = ("torch", "ray", "transformers", "datasets", "deepspeed", "mlflow", "scipy", "optuna")
KEYS = {
    "": {
        "name", "base", "shape", "shape_from", "parameters", "runs", "rates", "seeds", "search", "tasks", "methods",
        "packs", "pack_width", "pack_width_assumed", "pack_width_measured",
        "largest_pack", "trainers", "workers", "rate", "memory", "work",
        "work_at_most", "duration", "duration_at_most", "detectable", "independent_seeds", "tested",
        "budget", "runs_at_most", "ended", "ended_in", "machine", "money", "simulation",
    },
    "shape": {
        "hidden", "intermediate", "layers", "heads", "kv_heads", "head_dim", "vocab", "tied", "block_extra",
    },
    "rate": {"tflops", "given", "price", "source"},
    "memory": {
        "base", "adapters", "gradients", "optimizer", "buffers", "activations", "logits", "scoring", "kernels",
        "process", "total", "total_at_most",
    },
    "machine": {"gpu", "memory", "fits", "share"},
    "money": {"price_usd", "price", "spent_usd", "budget_usd", "runs_paid"},
    "work": {"train_tokens", "score_tokens", "operations", "train_operations"},
    "work_at_most": {"train_tokens", "score_tokens", "operations", "train_operations"},
    "duration": {"worker_hours", "hours", "cost"},
    "duration_at_most": {"worker_hours", "hours", "cost"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def a_home_without_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan leaves out what has ended, and whoever has called `make quickstart` has ended runs in this checkout."""
    monkeypatch.setenv("D2LORA_HOME", str(tmp_path))


def plan(*words: str) -> int:
    return run_job("plan", "", jobs.plan.main, list(words), jobs.plan.add_options)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert plan(*words, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_recipe_is_planned(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(str(recipe)) == 0
    output = capsys.readouterr().out
    for word in ("Runs", "Methods", "Tasks", "memory of a worker", "worker-hours", "ASSUMED", "smallest difference"):
        assert word in output


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_the_keys_of_the_json_are_stable(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(capsys, str(recipe))
    for place, keys in KEYS.items():
        assert set(plan[place] if place else plan) == keys, place
    grid = len(plan["tasks"]) * len(plan["methods"]) * plan["rates"] * plan["seeds"]
    assert plan["runs"] == grid
    assert set(plan["tasks"][0]) == {"name", "rows", "steps"}
    assert set(plan["methods"][0]) == {"label", "name", "targets", "rank", "control", "trainable_parameters"}
    assert set(plan["detectable"][0]) == {"sd", "difference", "seeds_for_one_point"}


def test_values_may_stand_before_and_after_options(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(ROOT / "recipes/quickstart.yaml")
    words = (recipe, "seeds=[0,1]", "--tflops", "2", "--price", "0.5", "optim.lr=[1e-3,1e-2]")
    estimated = planned(capsys, *words)
    assert (estimated["seeds"], estimated["rates"]) == (2, 2)
    assert estimated["rate"] == {"tflops": 2.0, "given": True, "price": 0.5, "source": "as given by --tflops"}
    assert estimated["duration"]["cost"] == pytest.approx(estimated["duration"]["worker_hours"] / 2)
    assert plan(*words) == 0
    output = capsys.readouterr().out
    assert "as given by --tflops" in output
    assert "ASSUMED" not in output


def test_a_race_is_planned_as_the_most_that_it_can_take(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, seeds = str(ROOT / "recipes/quickstart.yaml"), "seeds=[0,1,2,3]"
    assert "the most that a race can train" not in _said(capsys, recipe, seeds)
    assert "the most that a race can train" in _said(capsys, recipe, seeds, "search={kind: racing}")
    assert "every run begins, and some are stopped at rungs" in _said(capsys, recipe, seeds, "search={kind: asha}")


def test_a_search_by_tpe_is_planned_as_its_share_of_the_grid(capsys: pytest.CaptureFixture[str]) -> None:
    words = (str(ROOT / "recipes/quickstart.yaml"), "optim.lr=[1e-3,3e-3,1e-2]", "search={kind: tpe, trials: 3}")
    assert "search.kind=tpe trains 18 of these 54 runs, 33.3 %" in _said(capsys, *words)
    plan = planned(capsys, *words)
    assert (plan["runs"], plan["runs_at_most"], plan["search"]) == (54, 18, "tpe")
    assert planned(capsys, *words[:2])["runs_at_most"] == 54


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert plan(*words) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_plan_says_what_its_seeds_can_show_and_how_many_would_resolve_a_point(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, seeds = str(ROOT / "recipes/quickstart.yaml"), 7
    estimated = planned(capsys, recipe, f"seeds={list(range(seeds))}")
    for one in estimated["detectable"]:
        assert one["difference"] == pytest.approx(smallest_detectable_difference(seeds, one["sd"]), rel=1e-6)
        assert one["seeds_for_one_point"] == seeds_needed(0.01, one["sd"])
    comparisons = (len(estimated["methods"]) - 1) * len(estimated["tasks"])
    assert plan(recipe, f"seeds={list(range(seeds))}") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "What 7 paired seeds can show (power 0.8, two-sided 5 %, one task, one comparison)" in output
    assert "1.0 points +1.3 points 10" in output
    assert "2.0 points +2.5 points 34" in output
    assert f"in {comparisons} comparisons, Holm-corrected together: the smallest p must be below 0.013" in output


def test_a_model_that_is_not_known_is_planned_as_far_as_possible(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(str(ROOT / "recipes/smollm2.yaml"), "model.name=somebody/new", "seeds=[0]") == 0
    output = capsys.readouterr().out
    assert "The shape of somebody/new is unknown until it is fetched" in output
    assert "One seed has no spread" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nam=x"], "Unknown key 'nam'. Did you mean 'name'?"),
        (["methods=[{name: lora, rank: 48}]"], "rank=48 is larger than the smaller side of a 32 x 64 weight"),
        (["model.targets=*.c_attn"], "'*.c_attn' matches no linear layer of the model"),
        (["model.path=/nowhere"], "model.path=/nowhere is not a directory with a model."),
    ],
)
def test_a_bad_recipe_exits_with_2_and_one_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(str(ROOT / "recipes/quickstart.yaml"), *words) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


@pytest.mark.parametrize("words", [["--tflops", "0"], ["--price", "-1"], ["--tflops", "fast"], ["--tflops", "inf"]])
def test_a_bad_option_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        plan(str(ROOT / "recipes/quickstart.yaml"), *words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_nothing_heavy_is_loaded_and_it_takes_no_time() -> None:
    code = (
        "import json, sys, time, jobs.plan; from jobs.command import run_job; "
        "code = run_job('plan', '', jobs.plan.main, ['recipes/paper.yaml'], jobs.plan.add_options); "
        f"print(json.dumps([code, time.process_time(), [name for name in {HEAVY} if name in sys.modules]]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    exit_code, seconds, loaded = json.loads(ran.stdout.splitlines()[-1])
    assert exit_code == 0
    assert loaded == []
    assert seconds < 2  # of CPU, so that a busy machine does not fail it; 0.5 was measured


def test_nothing_is_written(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "jobs/plan.py"), str(ROOT / "recipes/quickstart.yaml")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "quickstart" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "jobs.plan", "recipes/quickstart.yaml", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["name"] == "quickstart"


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_planned_in_seconds_a_gigabyte_and_a_page(tmp_path: Path) -> None:
    recipe = tmp_path / "large.yaml"
    text = (ROOT / "recipes/paper.yaml").read_text()
    recipe.write_text(
        text.replace("seeds: [0, 1, 2, 3, 4]", f"seeds: {list(range(782))}")
    )  # x 8 tasks, 4 methods, 4 lr
    code = (
        "import json, re, time, jobs.plan; from jobs.command import run_job; from pathlib import Path; "
        f"code = run_job('plan', '', jobs.plan.main, [{str(recipe)!r}], jobs.plan.add_options); "
        # in KiB, of this program alone: ru_maxrss would count the process that has started it
        "size = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]); "
        "print(json.dumps([code, time.process_time(), size]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *output, last = ran.stdout.splitlines()
    exit_code, seconds, size = json.loads(last)
    assert exit_code == 0
    assert any("100,096" in line for line in output)
    assert len(output) < 100
    assert seconds < 10  # 4 were measured, of which scipy is 1
    assert size < 2**20, size  # 250 MiB were measured


PAPER = str(ROOT / "recipes/paper.yaml")
A100 = ("--gpu", "8xa100-80gb", "--spot")


def test_the_paper_on_eight_spot_gpus_has_hours_money_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(capsys, PAPER, *A100, "storage=/nowhere")
    assert plan["trainers"] == 8
    assert plan["rate"]["tflops"] == pytest.approx(0.4 * 312)
    assert plan["money"]["price_usd"] == plan["rate"]["price"]
    assert plan["machine"] == {"gpu": "a100-80gb", "memory": 80 * 2**30, "fits": True, "share": 1}
    assert plan["duration"]["cost"] == pytest.approx(plan["duration"]["worker_hours"] * plan["money"]["price_usd"])
    assert 1 < plan["duration"]["hours"] < 24
    listed = planned(capsys, PAPER, *A100[:2], "storage=/nowhere")
    assert listed["duration"]["cost"] > 2 * plan["duration"]["cost"]
    said = _said(capsys, PAPER, *A100, "storage=/nowhere")
    assert "into a100-80gb, the process aside fits 80.00 GiB" in said
    assert "40 % of the peak of a100-80gb" in said
    assert "a worker's hour" in said


def test_two_workers_on_a_gpu_share_its_memory_and_its_price_and_twice_as_many_trainers_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (PAPER, *A100, "storage=/nowhere", "--simulate", "2")
    whole = planned(capsys, *words)
    half = planned(capsys, *words, "cluster.gpus_per_worker=0.5")
    assert half["trainers"] == 2 * whole["trainers"] == 16
    assert half["money"]["price_usd"] == pytest.approx(whole["money"]["price_usd"] / 2)
    assert half["machine"]["memory"] == 40 * 2**30
    assert half["simulation"]["trainers"] == 2 * whole["simulation"]["trainers"]
    said = _said(capsys, *words, "cluster.gpus_per_worker=0.5")
    assert "into 0.5 of a100-80gb, the process aside fits 40.00 GiB" in said
    assert "(0.5 of 1.6043, catalog, after 2025-06)" in said
    third = planned(capsys, *words, "cluster.gpus_per_worker=0.3")
    assert third["trainers"] == 24  # three workers on each GPU


def test_the_sweep_and_the_plan_have_one_price_of_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    values = ("cluster.gpu=a100-80gb", "cluster.spot=true", "cluster.gpus_per_worker=0.5", "budget_usd=9")
    budget = budget_of(read_recipe(ROOT / "recipes/paper.yaml", values))
    assert budget is not None
    assert planned(capsys, PAPER, *values)["money"]["price_usd"] == budget.price


def test_a_gpu_on_which_nothing_is_left_for_cuda_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need = planned(capsys, PAPER, *A100, "storage=/nowhere")["memory"]
    gib = (need["total_at_most"] - need["process"]) / 2**30
    for more, fits in ((0.1, False), (1.0, True)):
        file = tmp_path / f"{fits}.yaml"  # a file is read once per process
        file.write_text(f"ours: {{on_demand: 1, memory_gib: {gib + more}}}\n")
        words = (PAPER, "--gpu", "ours", "--prices", str(file), "storage=/nowhere")
        assert planned(capsys, *words)["machine"]["fits"] is fits


def test_a_budget_says_how_many_runs_it_pays_for(capsys: pytest.CaptureFixture[str]) -> None:
    whole = planned(capsys, PAPER, *A100, "storage=/nowhere")["duration"]["cost"]
    half = planned(capsys, PAPER, *A100, "storage=/nowhere", "--budget", str(whole / 2))["money"]
    assert 0 < half["runs_paid"] < 640
    assert half["budget_usd"] == whole / 2
    enough = planned(capsys, PAPER, *A100, "storage=/nowhere", f"budget_usd={2 * whole}", "cluster.gpu=a100-80gb")
    assert enough["money"]["runs_paid"] == 640
    assert "runs that the rest of it pays for" in _said(capsys, PAPER, *A100, "--budget", "10")


def test_a_simulation_gives_time_utilisation_and_its_lower_bound(capsys: pytest.CaptureFixture[str]) -> None:
    words = (PAPER, *A100, "storage=/nowhere", "--simulate", "2")
    calm = planned(capsys, *words)["simulation"]
    assert (calm["nodes"], calm["trainers"], calm["reclaims"]) == (2, 16, 0)
    assert calm["makespan_hours"] >= calm["lower_bound_hours"]
    spot = [planned(capsys, *words, "--reclaim-per-hour", "2", "--seed", seed)["simulation"] for seed in "112"]
    assert spot[0] == spot[1] != spot[2]
    assert spot[0]["makespan_hours"] > calm["makespan_hours"]
    assert "Simulation on 2 nodes with 16 trainers in all" in _said(capsys, *words)


def test_a_simulation_has_the_trainers_of_the_sweep_and_packs_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe's number limits nodes; without a number the packs are those for as many trainers as nodes give."""
    one = ("--gpu", "a10g-24gb", "storage=/nowhere", "--simulate", "4")
    limited = planned(capsys, PAPER, *one, "cluster.max_concurrent=2")
    assert (limited["simulation"]["nodes"], limited["simulation"]["trainers"], limited["trainers"]) == (4, 2, 2)
    free = planned(capsys, PAPER, *one)
    assert free["trainers"] == free["simulation"]["trainers"] == 4
    assert limited["simulation"]["makespan_hours"] == pytest.approx(2 * free["simulation"]["makespan_hours"], rel=0.1)
    assert limited["simulation"]["makespan_hours"] == pytest.approx(limited["duration"]["hours"], rel=0.05)


def test_a_price_table_of_ones_own_goes_before_the_packaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("ours: {on_demand: 0.5, memory_gib: 2}\n")
    plan = planned(capsys, PAPER, "--gpu", "ours", "--prices", str(file))
    assert plan["money"]["price_usd"] == 0.5
    assert plan["machine"]["fits"] is False
    assert planned(capsys, PAPER, "--gpu", "ours", "--prices", str(file), "--price", "3")["rate"]["price"] == 3.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpu", "a100"], "Unknown accelerator 'a100'. Did you mean 'a100-80gb'?"),
        (["--gpu", "t4-16gb", "--spot"], "The price table has no spot price of t4-16gb: give --price USD"),
        (["--spot"], "--spot is a kind of price: give --gpu NAME too"),
        (["--spot", "cluster.price_per_hour=2"], "--spot is a kind of price: give --gpu NAME too"),
        (["--gpu", "a100 80gb"], "--gpu 'a100 80gb' is no accelerator: give --gpu a100-80gb"),
        (["--gpu", ""], "--gpu '' is no accelerator"),
        (["cluster.gpu=8xa100-80gb"], "Unknown accelerator '8xa100-80gb'. Did you mean 'a100-80gb'?"),
        (["--budget", "5"], "--budget needs the price of a worker's hour: give --price USD, or --gpu NAME"),
        (["--gpu", "a100-80gb", "cluster.gpus_per_worker=0"], "give cluster.gpus_per_worker=1"),
        (["--gpu", "1xa100-80gb", "cluster.workers=2"], "1 GPUs have no room for one trainer of cluster.workers=2"),
        (["--gpu", "a100-80gb", "--prices", "/nowhere.yaml"], "/nowhere.yaml is not there"),
        (["--simulate", "1", "--gpu", "l4-24gb", "cluster.workers=4"], "a trainer of 4 workers takes 4 such nodes"),
    ],
)
def test_terms_that_cannot_be_are_refused_with_the_remedy(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(PAPER, *words) == 2
    assert message in capsys.readouterr().err


def test_what_has_ended_is_left_out_of_the_plan_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "tests/stored/sweep", tmp_path / "sweeps" / "stored")
    recipe, before = str(ROOT / "tests/stored/stored.yaml"), tmp_path / "sweeps" / "stored" / "sweep.json"
    shutil.copytree(ROOT / "tests/stored/base", tmp_path / "base")
    content = json.loads(before.read_text())
    content["recipe"]["model"] |= {"path": str(tmp_path / "base")}  # it was made where its base lay elsewhere
    before.write_text(json.dumps(content))
    words = (recipe, f"storage={tmp_path / 'sweeps'}", f"model.path={tmp_path / 'base'}")
    told = planned(capsys, *words)
    assert (told["runs"], told["ended"], told["packs"]) == (8, 8, 0)
    said = _said(capsys, *words)
    assert "of these ended already 8" in said
    assert "memory: all runs have ended" in said
    assert f"Ended already: 8 of 8 runs: {tmp_path / 'sweeps' / 'stored'}." in said


def test_the_table_in_the_docs_is_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs/plan.md").read_text()
    command = re.search(r"`python jobs/plan.py (recipes/paper.yaml .*)` prints", text)
    assert command is not None
    assert plan(*command[1].split(), "storage=/nowhere") == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    (shown,) = (block for block in text.split("```") if "\nResources\n" in block)
    lines = [line for line in shown.splitlines() if line.strip()]
    assert len(lines) > 30
    assert [line for line in lines if line not in printed] == []
    explained = [f"| `{name}` |" for name in PARTS]
    assert [line for line in explained if line not in text] == []
