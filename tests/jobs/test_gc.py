"""`gc` lists what is stale with size and reason, deletes it only when told, and never what a result needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import jobs.gc
from jobs.command import run_job
from orchestrator.files import write_bytes, write_json, write_lines
from orchestrator.recipe.read import read_recipe
from orchestrator.store.champion import EVALUATION
from orchestrator.store.ends import COMMITTED
from orchestrator.store.inventory import inventory
from orchestrator.store.lease import hold, holder
from orchestrator.summary.summarise import summarise
from orchestrator.upkeep import clear
from tests.helpers.folders import Made
from tests.helpers.places import ROOT
from tests.helpers.stores import server, store  # noqa: F401 - fixtures
from tests.helpers.sweeps import run

Output = pytest.CaptureFixture[str]
OLD = 40 * 86_400.0


def gc(capsys: Output, made: Made, *words: str, code: int = 0) -> str:
    assert run_job("gc", "", jobs.gc.main, [*made.words, *words], jobs.gc.add_options) == code
    output = capsys.readouterr()
    return output.out + output.err


def reasons(capsys: Output, made: Made, *words: str) -> dict[str, str]:
    content = json.loads(gc(capsys, made, *words, "--json"))
    assert content["bytes"] == sum(row["size"] for row in content["stale"])
    return {row["name"]: row["reason"] for row in content["stale"]}


def champion(made: Made, task: str, number: int, status: str = "sound") -> Path:
    place = made.folder.champion(task)
    write_bytes(place / "model.safetensors", b"weights" * 1000)
    write_json(place / EVALUATION, {"run_key": made.runs[number].key, "status": status, "files": {}})
    return place


def results(made: Made, *numbers: int) -> None:
    rows = [made.row(number, base_accuracy=0.3) for number in numbers]
    empty = ("train_loss_volatility", "train_seconds", "trainable_parameters")
    rows = [row | dict.fromkeys(empty) | {"settings": {"name": "lora"}} for row in rows]
    write_lines(made.folder.results, rows)
    write_json(made.folder.summary, summarise(rows, {}))


def whole(made: Made) -> None:
    """Make a sweep in which nothing is stale: committed, diverged and unfinished runs, two champions."""
    made.begin()
    for number in (0, 1, 7):
        made.commit(number)
        write_bytes(made.folder.predictions(made.runs[number].key), b"{}\n")
    made.diverge(2)
    made.checkpoint(made.attempt(3, 9), 8)
    made.checkpoint(made.attempt(3, 17), 16)
    results(made, 0, 1, 7)
    champion(made, "tiny_recall", 1)
    champion(made, "tiny_above", 7)
    made.folder.identity.write_text("{}")
    for name in ("driver.jsonl", "pack-00-rank0.jsonl"):
        write_bytes(made.folder.logs / name, b"{}\n")
    write_json(made.folder.path / "base" / "scores.json", {})


def spoil(made: Made) -> dict[str, str]:
    """Add one stale thing of each kind; return name -> a word of its reason."""
    runs, path = made.runs, made.folder.path
    write_bytes(made.folder.runs / "0123456789abcdef" / COMMITTED, b"{}")
    write_bytes(made.folder.runs / "0123456789abcdef" / "attempt-1" / "adapter" / "adapter.safetensors", b"x" * 5000)
    write_bytes(made.folder.runs / runs[0].key / "attempt-3" / "metrics.jsonl", b"")
    made.attempt(4)
    made.attempt(4)
    write_bytes(
        made.folder.runs / runs[2].key / "attempt-1" / "checkpoints" / "00000002" / "lane.safetensors", b"x" * 9
    )
    write_bytes(made.folder.runs / runs[3].key / f"{COMMITTED}.damaged-1", b"x" * 7)
    write_bytes(made.folder.runs / runs[3].key / "attempt-2" / "checkpoints" / "00000012.damaged" / "x", b"")
    write_bytes(made.folder.run(runs[1].key).error, b"once")
    write_bytes(made.folder.predictions("0123456789abcdef"), b"{}\n")
    champion(made, "tiny_gone", 0)
    champion(made, "tiny_recall", 0, "broken")
    write_bytes(path / "champions" / "tiny_above.sound-0123" / EVALUATION, b"{}")
    draft = path / "champions" / ".tmp-tiny_above"
    write_bytes(draft / "model.safetensors", b"x" * 3000)
    write_bytes(path / ".ray" / "trial" / "file", b"x" * 100)
    old = made.folder.logs / "pack-00-rank1.jsonl"
    write_bytes(old, b"{}\n")
    os.utime(old, (time.time() - OLD,) * 2)
    return {
        "runs/0123456789abcdef": "recipe does not have",
        f"runs/{runs[0].key}/attempt-3": "attempt 1 has ended",
        f"runs/{runs[4].key}/attempt-1": "no checkpoint",
        f"runs/{runs[2].key}/attempt-1/checkpoints": "diverged",
        f"runs/{runs[3].key}/{COMMITTED}.damaged-1": "damaged",
        f"runs/{runs[3].key}/attempt-2/checkpoints/00000012.damaged": "damaged",
        f"runs/{runs[1].key}.error.txt": "ended since",
        "predictions/0123456789abcdef.jsonl": "results.jsonl",
        "champions/tiny_gone": "task that the recipe does not have",
        "champions/tiny_recall": f"run {runs[1].key} is the best now",
        "champions/.tmp-tiny_above": "half written",
        ".ray": "Ray",
        "logs/pack-00-rank1.jsonl": "30 days",
    }


def test_nothing_is_stale_in_a_folder_of_which_everything_is_needed(made: Made, capsys: Output) -> None:
    whole(made)
    assert reasons(capsys, made) == {}
    assert "nothing is stale" in gc(capsys, made)


def test_each_stale_thing_is_listed_with_its_reason_and_nothing_is_deleted(made: Made, capsys: Output) -> None:
    whole(made)
    wanted = spoil(made)
    before = inventory(made.folder.path)
    listed = reasons(capsys, made)
    assert listed.keys() == wanted.keys()
    for name, reason in wanted.items():
        assert reason in listed[name], name
    said = gc(capsys, made)
    assert said.index("7.1 kB  champions/tiny_gone") < said.index("5.0 kB  runs/0123456789abcdef")
    assert "nothing is deleted without --delete" in said
    assert {name for name in inventory(made.folder.path) if name != ".lease"} == set(before)


def test_delete_leaves_exactly_what_was_not_listed(made: Made, capsys: Output) -> None:
    whole(made)
    needed = set(inventory(made.folder.path))
    champions = {name for name in needed if name.startswith("champions/tiny_recall/")}
    for name in spoil(made):
        assert name not in needed or name == "champions/tiny_recall"
    assert "now deleted" in gc(capsys, made, "--delete")
    left = set(inventory(made.folder.path))
    assert needed - left == champions  # the champion of a run that was not the best
    attempts = {f"runs/{made.runs[4].key}/{name}" for name in ("", "run.json", "attempt-2/", "attempt-2/metrics.jsonl")}
    kept = {"champions/tiny_above.sound-0123/", f"champions/tiny_above.sound-0123/{EVALUATION}"}
    assert left - needed == {".lease", *attempts, *kept}
    for number in (0, 1, 7):
        made.folder.run(made.runs[number].key).verify()
    assert reasons(capsys, made) == {}


def test_a_sound_champion_stays_until_a_sweep_has_merged_a_better_run(made: Made, capsys: Output) -> None:
    """MLflow's alias names its directory; the merge of the better run may have failed, or not have begun."""
    whole(made)
    place = champion(made, "tiny_recall", 0)
    assert reasons(capsys, made, "--delete") == {}
    assert (place / EVALUATION).exists()


def test_while_a_driver_holds_the_lease_nothing_is_deleted(made: Made, capsys: Output) -> None:
    whole(made)
    spoil(made)
    with hold(made.folder.path):
        before = inventory(made.folder.path)
        assert f"in use by {holder()}" in gc(capsys, made, "--delete", code=75)
        assert "nothing can be deleted now" in gc(capsys, made)
        assert inventory(made.folder.path).keys() == before.keys()
    assert "now deleted" in gc(capsys, made, "--delete")


@pytest.mark.parametrize("words", [["data.train_samples=7"], ["optim.lr=1e-3"], ["model.path=elsewhere"]])
def test_a_folder_of_another_recipe_stays_as_it_is(made: Made, capsys: Output, words: list[str]) -> None:
    whole(made)
    spoil(made)
    before = inventory(made.folder.path)
    said = gc(capsys, made, *words, "--delete", code=2)
    assert "was made by another recipe" in said
    assert f"python jobs/sweep.py {made.path}" in said
    assert "--delete" not in said
    assert inventory(made.folder.path).keys() == before.keys()


def test_without_a_folder_nothing_is_stale_and_none_is_made(made: Made, capsys: Output) -> None:
    assert "nothing is stale" in gc(capsys, made, "--delete")
    assert not made.folder.path.exists()
    made.commit(0)
    assert "has runs and no sweep.json" in gc(capsys, made, code=2)


def test_runs_of_seeds_that_the_recipe_has_no_more_are_stale_once_the_sweep_has_run_without_them(
    made: Made, capsys: Output
) -> None:
    """Whoever trains with words on the command line and forgets one at the gc loses no run."""
    whole(made)
    before = inventory(made.folder.path)
    said = gc(capsys, made, "seeds=[0,1]", "--delete", code=2)
    assert "this recipe lacks 4 of the 12 runs of its sweep" in said
    assert "'seeds=[0,1]'" in said
    assert inventory(made.folder.path).keys() == before.keys()
    made.spec = read_recipe(made.path, [*made.words[1:], "seeds=[0,1]"])
    made.runs, lost = made.keyed(made.spec), made.runs[2]
    made.begin()  # as the sweep's command does
    assert set(reasons(capsys, made, "seeds=[0,1]")) == {f"runs/{lost.key}"}


def test_what_a_driver_writes_between_two_looks_is_not_deleted_without_the_lease(
    made: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look finds nothing; then a driver that holds the lease has a file half written."""
    whole(made)
    draft = made.folder.path / ".tmp-results"
    real = clear.stale_in

    def then_a_draft(*arguments: Any) -> Any:
        rows = real(*arguments)
        write_bytes(draft, b"half")
        return rows

    monkeypatch.setattr(jobs.gc, "stale_in", then_a_draft)
    with hold(made.folder.path):
        gc(capsys, made, "--delete")
    assert draft.exists()


def test_a_kill_at_any_step_of_a_delete_leaves_whole_things_and_the_next_one_ends_it(
    made: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(made)
    needed = set(inventory(made.folder.path)) - {"champions/tiny_recall/"}
    calls = ("rename", "replace", "unlink", "rmdir", "mkdir")

    class Killed(BaseException):
        pass

    for moment in range(100):
        things = spoil(made)
        before = inventory(made.folder.path)
        done: list[str] = []
        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, _dying(getattr(os, name), done, moment, Killed))
            try:
                gc(capsys, made, "--delete")
            except Killed:
                pass
            else:
                assert moment > 25
                break
        capsys.readouterr()
        for number in (0, 1, 7):
            made.folder.run(made.runs[number].key).verify()
        after = inventory(made.folder.path)
        for thing in things:  # whole, or gone from its place
            assert below(thing, after) in (set(), below(thing, before)), thing
        gc(capsys, made, "--delete")
        assert reasons(capsys, made) == {}
        lost = needed - set(inventory(made.folder.path))
        assert all(name.startswith("champions/tiny_recall/") for name in lost)
    else:
        pytest.fail("the delete never came to its end")


def below(thing: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if name == thing or name.startswith(f"{thing}/")}


def _dying(real: Any, done: list[str], moment: int, killed: type[BaseException]) -> Any:
    def call(*arguments: Any, **more: Any) -> Any:
        if len(done) >= moment:
            raise killed
        done.append("")
        return real(*arguments, **more)

    return call


def test_a_sweep_in_an_object_store_is_cleared_there(tmp_path: Path, capsys: Output, store: Any) -> None:  # noqa: F811
    made = Made(tmp_path, "s3://sweeps/all")
    whole(made)
    write_bytes(made.folder.runs / "0123456789abcdef" / COMMITTED, b"{}")
    write_bytes(made.folder.predictions("0123456789abcdef"), b"{}\n")
    listed = {"runs/0123456789abcdef", "predictions/0123456789abcdef.jsonl"}
    assert set(reasons(capsys, made)) == listed
    with hold(made.folder.path):
        assert f"in use by {holder()}" in gc(capsys, made, "--delete", code=75)
    needed = set(inventory(made.folder.path)) - {"runs/0123456789abcdef/COMMITTED.json", *listed}
    gc(capsys, made, "--delete")
    assert {name for name in needed if not name.startswith(".lease")} <= set(inventory(made.folder.path))
    assert reasons(capsys, made) == {}
    assert not made.folder.run("0123456789abcdef").path.exists()


@pytest.mark.slow
def test_after_gc_a_real_sweep_trains_nothing_and_every_result_is_whole(recipe: Path, capsys: Output) -> None:
    code, _, place = run(recipe)
    assert code == 0
    write_bytes(place / "runs" / "0123456789abcdef" / COMMITTED, b"{}")
    write_bytes(place / ".tmp-left", b"x")
    before = set(inventory(place))
    words = [str(recipe), "--delete"]
    assert run_job("gc", "", jobs.gc.main, words, jobs.gc.add_options) == 0
    printed = capsys.readouterr().out
    assert "runs/0123456789abcdef" in printed
    gone = {name.split("/")[0] for name in before - set(inventory(place))}
    assert gone <= {"runs", ".tmp-left", ".ray"}, printed
    code, printed, _ = run(recipe)
    assert code == 0
    assert "8 done already, 0 to train" in printed
    assert "merging the champion" not in printed
    assert run_job("gc", "", jobs.gc.main, [str(recipe)], jobs.gc.add_options) == 0
    assert "nothing is stale" in capsys.readouterr().out


def test_a_gc_loads_neither_torch_nor_ray(made: Made) -> None:
    whole(made)
    program = (
        "import sys; from jobs.command import run_job; import jobs.gc as job;"
        f"code = run_job('gc', '', job.main, {made.words!r}, job.add_options);"
        "print([name for name in ('torch', 'ray', 'mlflow', 'transformers') if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_list_is_of_the_folder_as_it_is_under_the_lease(
    made: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends between the first look and the lease is not deleted by what the first look said."""
    whole(made)
    spoil(made)
    looks: list[int] = []
    real = clear.stale_in

    def then_results(*arguments: Any) -> Any:
        rows = real(*arguments)
        looks.append(len(rows))
        if len(looks) == 1:
            champion(made, "tiny_recall", 1)  # another driver ends, and its champion stands
        return rows

    monkeypatch.setattr(jobs.gc, "stale_in", then_results)
    gc(capsys, made, "--delete")
    assert (made.folder.champion("tiny_recall") / EVALUATION).exists()
    assert looks[1] == looks[0] - 1
