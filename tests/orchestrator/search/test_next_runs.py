"""The search of a sweep: what is trained next, round after round, and what becomes of the runs that are not."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.control_arms.no_op_sweep import row_of
from orchestrator.cluster.cluster import Failures, Train
from orchestrator.cluster.local import LocalCluster
from orchestrator.control import Control
from orchestrator.errors import InputError
from orchestrator.files import write_lines
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.search.next_runs import decisions, lines, next_runs, why_not_trained
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.sweep import run_sweep
from orchestrator.worker.jobs import PackJob
from tests.helpers.sweeps import rows_of

RACING = "search={kind: racing}"
SEEDS = "seeds=[0, 1, 2, 3, 4, 5]"
GRID = ("optim.lr=[1.0e-3, 5.0e-3]", SEEDS, "tracking.uri=none", "champions=false")
LEVELS = {("d2lora", 1e-3): 0.80, ("d2lora", 5e-3): 0.798, ("lora", 1e-3): 0.20, ("lora", 5e-3): 0.797}


def accuracy(run: PlannedRun) -> float:
    """What a run of the stubbed trainer scores: far behind for one setting."""
    spec = run.spec
    own = f"{spec.task.name} {spec.method.label} {spec.lr} {spec.seed}"  # keys differ by machine
    noise = (zlib.crc32(own.encode()) % 7 - 3) / 500
    return LEVELS[spec.method.label, spec.lr] + 0.01 * (spec.seed % 2) + noise


def planned(spec: SweepSpec) -> list[PlannedRun]:
    return keyed(expand(spec), "base", {task.name: task.name for task in spec.tasks})


class Stubbed(LocalCluster):
    """This process, with a trainer that only commits; remembers what each call was asked to train."""

    def __init__(self, broken: Callable[[PlannedRun], bool] = lambda run: False) -> None:
        super().__init__()
        self.broken, self.rounds = broken, list[list[PlannedRun]]()

    def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
        self.rounds.append([run for job in jobs for run in job.pack.runs])
        return super().run_packs(jobs, self._train)

    def _train(self, job: PackJob, device: torch.device, control: Control) -> None:
        for run in job.pack.runs:
            if self.broken(run):
                raise RuntimeError("no memory left")
        for run in job.pack.runs:
            attempt = RunFolder(Path(job.folder) / "runs" / run.key).begin(run.spec.model_dump())
            (attempt.path / "adapter").mkdir()
            (attempt.path / "adapter" / "adapter.safetensors").write_bytes(b"nothing")
            write_lines(attempt.path / "metrics.jsonl", [])
            write_lines(
                attempt.path / "predictions.jsonl", [{"index": 0, "answer": 0, "predicted": 0, "scores": [0.0, -1.0]}]
            )
            score = accuracy(run)
            attempt.commit(row_of(run) | {"accuracy": score, "validation_accuracy": score})


def race(recipe: Path, cluster: Stubbed, *words: str) -> tuple[int, str, Path]:
    """Run the sweep on the stubbed cluster."""
    spec, output = read_recipe(recipe, (*GRID, *words)), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.driver.services.open_cluster", lambda *_: cluster)
        code = run_sweep(spec, "command", Console(file=output, width=200))
    return code, output.getvalue(), SweepFolder.of(spec).path


def test_a_grid_is_trained_at_once_and_never_twice(recipe: Path) -> None:
    spec = read_recipe(recipe, GRID)
    runs = planned(spec)
    assert next_runs(spec, runs, {}) == runs
    done = {run.key: 0.5 for run in runs[3:]}
    assert next_runs(spec, runs, done, failed={runs[0].key}) == runs[1:3]
    assert why_not_trained(spec, runs, done) == {}
    assert list(lines(decisions(spec, runs, done))) == []


def test_a_race_trains_the_first_seeds_of_every_task_then_one_seed_of_those_still_in(recipe: Path) -> None:
    spec = read_recipe(recipe, (*GRID, RACING))
    runs = planned(spec)
    first = next_runs(spec, runs, {})
    assert [run.key for run in first] == [run.key for run in runs if run.spec.seed < 3]
    results: dict[str, float | None] = {run.key: accuracy(run) for run in first}
    second = next_runs(spec, runs, results)
    assert {run.spec.seed for run in second} == {3}
    assert {(run.spec.method.label, run.spec.lr) for run in second} <= LEVELS.keys()
    results |= {run.key: accuracy(run) for run in second}
    assert ("lora", 1e-3) not in {(run.spec.method.label, run.spec.lr) for run in next_runs(spec, runs, results)}


def test_the_error_of_a_race_is_shared_by_the_tasks_of_its_sweep(recipe: Path) -> None:
    spec = read_recipe(recipe, (*GRID, RACING))
    runs = planned(spec)
    results: dict[str, float | None] = {run.key: accuracy(run) for run in runs if run.spec.seed < 3}
    both = decisions(spec, runs, results)["tiny_recall"].gaps
    alone = spec.model_copy(update={"tasks": spec.tasks[:1]})
    one = decisions(alone, [run for run in runs if run.spec.task.name == "tiny_recall"], results)["tiny_recall"].gaps
    shared = both.keys() & one.keys()
    assert shared
    assert all(both[setting].high > one[setting].high for setting in shared)


def test_a_racing_sweep_trains_rung_after_rung_and_its_dropped_runs_are_no_failures(recipe: Path) -> None:
    cluster = Stubbed()
    code, said, folder = race(recipe, cluster, RACING)
    assert code == 0, said
    assert [sorted({run.spec.seed for run in runs}) for runs in cluster.rounds][:2] == [[0, 1, 2], [3]]
    rows = rows_of(folder)
    assert len(rows) == 2 * 4 * 6
    dropped = [row for row in rows if row["status"] == "dropped"]
    assert {row["status"] for row in rows} == {"committed", "dropped"}
    assert {(row["method"], row["lr"]) for row in dropped} == {("lora", 1e-3)}
    assert all(row["accuracy"] is None and "error" not in row for row in dropped)
    assert all("dropped after" in row["reason"] and "against d2lora, lr 0.001" in row["reason"] for row in dropped)
    assert sum(map(len, cluster.rounds)) == len(rows) - len(dropped)
    assert "dropped lora, lr 0.001" in said
    summary = json.loads((folder / "summary.json").read_text())
    lora = summary["tasks"]["tiny_recall"]["methods"]["lora"]
    assert (lora["lr"], lora["n"], lora["failed"]) == (5e-3, 6, 0)
    assert lora["by_lr"]["0.001"]["dropped"] + lora["by_lr"]["0.001"]["n"] == 6
    assert f"The race made {len(dropped)} of 48 runs needless." in summary["headline"]
    assert "Failed and diverged runs" not in (folder / "report.html").read_text()


def test_a_racing_sweep_that_was_killed_goes_on_where_it_was_and_ends_the_same(recipe: Path, tmp_path: Path) -> None:
    class Killed(Stubbed):
        def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
            if len(self.rounds) == 2:
                raise KeyboardInterrupt
            return super().run_packs(jobs, train)

    with pytest.raises(KeyboardInterrupt):
        race(recipe, Killed(), RACING)
    second = Stubbed()
    code, _, folder = race(recipe, second, RACING)
    assert {run.spec.seed for run in second.rounds[0]} == {4}
    whole = Stubbed()
    _, _, other = race(recipe, whole, RACING, f"storage={tmp_path}/other")
    told = [[(row["run_key"], row["status"], row.get("reason")) for row in rows_of(one)] for one in (folder, other)]
    assert told[0] == told[1]
    assert code == 0
    third = Stubbed()
    assert race(recipe, third, RACING)[0] == 0
    assert third.rounds == []


def test_a_grid_becomes_a_race_and_a_race_a_grid_without_training_anything_again(recipe: Path) -> None:
    race(recipe, Stubbed(), RACING)
    cluster = Stubbed()
    code, _, folder = race(recipe, cluster)
    assert code == 0
    assert {(run.spec.method.label, run.spec.lr) for run in cluster.rounds[0]} == {("lora", 1e-3)}
    cluster = Stubbed()
    race(recipe, cluster, RACING)
    assert cluster.rounds == []
    assert {row["status"] for row in rows_of(folder)} == {"committed"}


def test_a_run_that_fails_stops_its_setting_and_nobody_else(recipe: Path) -> None:
    def broken(run: PlannedRun) -> bool:
        return (run.spec.method.label, run.spec.lr, run.spec.seed) == ("lora", 5e-3, 1)

    cluster = Stubbed(broken)
    code, said, folder = race(recipe, cluster, RACING, "tasks=[tiny_recall]")
    assert code == 1
    rows = {(row["method"], row["lr"], row["seed"]): row for row in rows_of(folder)}
    assert "no memory left" in rows["lora", 5e-3, 1]["error"]
    assert "waits for a run that failed" in said
    assert [rows["d2lora", 1e-3, seed]["status"] for seed in range(6)] == ["committed"] * 6
    assert rows["lora", 5e-3, 5]["status"] == "failed"
    repaired = Stubbed()
    code, _, folder = race(recipe, repaired, RACING, "tasks=[tiny_recall]")
    assert code == 0
    assert {row["status"] for row in rows_of(folder)} == {"committed", "dropped"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("search={kind: race}", r"search\.kind: Input should be 'grid', 'racing', 'tpe' or 'asha' \(found 'race'\)"),
        ("search=racing", "search holds keys, not 'racing'"),
        ("search={kind: racing, frist: 3}", r"Unknown key 'search.frist'. Did you mean 'search.first'\?"),
        (
            "search={kind: racing, first: 6}",
            "search.first=6 leaves nothing to save of 6 seeds: give more seeds, a smal",
        ),
        ("search={kind: racing, first: 1}", r"search\.first: Input should be greater than or equal to 2 \(found 1\)"),
        ("search={kind: racing, alpha: 0}", r"search\.alpha: Input should be greater than 0"),
        ("search={kind: rase}", r"search\.kind: Input should be .* \(found 'rase'\)"),
        (
            "search={first: 4}",
            r"search\.first belongs to kind: racing, and this is a grid\. Leave first out, or write .* racing\.$",
        ),
        ("search={kind: racing, trials: 4}", "trials belongs to kind: tpe, .* It takes alpha, first and resolve"),
        (
            "search={kind: asha, first: 4}",
            "first belongs to kind: racing, and this is kind: asha. It takes rung and fac",
        ),
        ("search={kind: asha, rung: 1.5}", "rung: 1.5 is no share of a run: give one below 1, or a whole number"),
        ("search={kind: asha, rung: 0}", r"search\.rung: Input should be greater than 0 \(found 0\)"),
        ("search={kind: asha, factor: 1}", r"search\.factor: Input should be greater than or equal to 2"),
    ],
)
def test_a_search_that_cannot_be_is_refused_with_the_way_out(recipe: Path, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(recipe, (*GRID, word))


def test_the_advice_on_a_key_of_another_kind_is_read(recipe: Path) -> None:
    for word in ("search={}", "search={kind: racing, first: 4}"):
        assert read_recipe(recipe, (*GRID, word)).search.kind in ("grid", "racing")


def test_a_race_over_seeds_on_two_axes_is_refused(recipe: Path) -> None:
    with pytest.raises(InputError, match="compares independent seeds; pairs of two axes share them: list seeds"):
        read_recipe(recipe, (*GRID, "seeds={init: [0, 1, 2], data: [0, 1]}", "search={kind: racing}"))


def test_asha_sends_rivals_together_with_the_keys_of_all_of_them(recipe: Path) -> None:
    class Watched(Stubbed):
        def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
            sent.extend(jobs)
            return super().run_packs(jobs, train)

    sent: list[PackJob] = []
    code, said, folder = race(recipe, Watched(), "search={kind: asha}", "cluster.pack=6")
    assert code == 0, said
    rivals: dict[tuple[str, int], set[str]] = {}
    for row in rows_of(folder):
        rivals.setdefault((row["task"], row["seed"]), set()).add(row["run_key"])
    assert [len(job.pack.runs) for job in sent] == [4] * 12
    for job in sent:
        (place,) = {(run.spec.task.name, run.spec.seed) for run in job.pack.runs}
        assert job.contest is not None
        assert job.contest.rivals.keys() == {run.key for run in job.pack.runs}
        assert all(set(keys) == rivals[place] for keys in job.contest.rivals.values())


def test_a_search_among_one_setting_is_refused(recipe: Path) -> None:
    for search in (RACING, "search={kind: asha}"):
        with pytest.raises(InputError, match="needs two settings"):
            read_recipe(recipe, (SEEDS, "methods=[{name: lora, rank: 2, alpha: 4}]", search))


def test_the_search_is_in_no_run_key(recipe: Path) -> None:
    kinds = ((), (RACING,), ("search={kind: asha}",))
    grid, racing, asha = ([run.key for run in planned(read_recipe(recipe, (*GRID, *words)))] for words in kinds)
    assert grid == racing == asha


def test_a_result_that_cannot_be_read_ends_its_run_as_failed_and_not_the_sweep_in_a_circle(recipe: Path) -> None:
    class Spoiling(Stubbed):
        def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
            failures = super().run_packs(jobs, train)
            run = jobs[0].pack.runs[0]
            (Path(jobs[0].folder) / "runs" / run.key / "COMMITTED.json").write_text("{}")
            return failures

    cluster = Spoiling()
    code, _, folder = race(recipe, cluster, "tasks=[tiny_recall]")
    assert (code, len(cluster.rounds)) == (1, 1)
    (failed,) = [row for row in rows_of(folder) if row["status"] != "committed"]
    assert (failed["status"], "is not what was written" in failed["error"]) == ("failed", True)
