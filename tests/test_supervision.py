"""What becomes of packs on a real Ray when trials, ranks, nodes, the hub or the driver are killed, stopped or hang."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.hub.breaker import LIKE
from tests.helpers.places import ROOT
from tests.test_ray import start_script

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
PROGRAM = ROOT / "tests" / "helpers" / "programs" / "supervised_packs.py"
LONG = 40  # steps of a pack whose name begins with "long"


@dataclass(frozen=True)
class Start:
    """One rank that began a pack: at which step, in which process, on which node, when."""

    pack: str
    rank: int
    step: int
    process: int
    node: str
    at: float


def starts(folder: Path) -> list[Start]:
    lines = [line.split() for line in (folder / "starts.txt").read_text().splitlines()]
    return [
        Start(pack, int(rank), int(step), int(process), node, float(at))
        for pack, rank, step, process, node, at in lines
    ]


def begin(folder: Path, *packs: str, workers: int = 1, hang: float = 60, what: str = "nothing") -> Any:
    return start_script(PROGRAM, folder, str(folder), str(workers), str(hang), what, *packs)


def outcome(folder: Path, *packs: str, **options: Any) -> dict[str, Any]:
    """Run the driver to its end; return what it has written: failures, said, steps, seconds."""
    driver: subprocess.Popen[str] = begin(folder, *packs, **options)
    told, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, told[-5000:]
    out: dict[str, Any] = json.loads((folder / "out.json").read_text())
    assert "Traceback" not in told, told[-5000:]
    return out


def test_trials_that_are_killed_before_they_begin_change_nothing(tmp_path: Path) -> None:
    out = outcome(tmp_path, "fine-0", "fine-1", "fine-2", "fine-3", what="trials")
    assert out["failures"] == {}
    assert out["steps"] == {f"fine-{number}": 4 for number in range(4)}
    assert [start.pack for start in starts(tmp_path)] == [f"fine-{number}" for number in range(4)]


def test_sixty_packs_that_fail_alike_start_three_trainers(tmp_path: Path) -> None:
    out = outcome(tmp_path, *(f"alike-{number}" for number in range(60)))
    assert len(out["failures"]) == 60
    assert len(starts(tmp_path)) == 3
    assert [line for line in out["said"] if "not tried, because 3 packs in a row failed alike" in line] == out["said"][
        1:
    ]


@pytest.mark.rare
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_rank_is_found_named_and_ended_and_its_pack_goes_on(tmp_path: Path, workers: int) -> None:
    """SIGSTOP: the process neither answers nor ends by itself; the other rank waits for it."""
    out = outcome(tmp_path, "stops-0", "fine-1", workers=workers, hang=15)
    assert out["failures"] == {}
    began = [start for start in starts(tmp_path) if start.pack == "stops-0"]
    assert [(start.rank, start.step) for start in sorted(began, key=lambda start: (start.step, start.rank))] == [
        (rank, step) for step in (0, 3) for rank in range(workers)
    ]
    (stopped,) = [start for start in began if start.step == 0 and start.rank == workers - 1]
    assert f"rank {workers - 1} on " in out["said"][0]
    assert f"process {stopped.process}, has not answered for" in out["said"][0]
    assert "Stepper.__call__ (" in out["said"][0]  # its stack, read from outside
    assert not Path(f"/proc/{stopped.process}").exists()
    assert "stops-0 is put back (lost)" in out["said"][1]


@pytest.mark.rare
def test_a_rank_that_hangs_and_answers_is_ended_with_its_stack(tmp_path: Path) -> None:
    out = outcome(tmp_path, "sleeps-0", hang=5)
    assert out["failures"] == {}
    assert "has made no optimizer step for" in out["said"][0]
    assert "time.sleep(10_000)" in out["said"][0]
    assert [start.step for start in starts(tmp_path)] == [0, 3]


@pytest.mark.rare
def test_a_killed_hub_fails_its_packs_with_one_sentence_and_leaves_no_trainer(tmp_path: Path) -> None:
    out = outcome(tmp_path, "long-0", "fine-1", what="hub")
    assert set(out["failures"]) == {"long-0", "fine-1"}
    assert all(
        error.startswith("The hub, which hands packs to trainers, is gone") for error in out["failures"].values()
    )
    assert len(out["said"]) == 1
    (trainer,) = starts(tmp_path)
    assert not Path(f"/proc/{trainer.process}").exists()


@pytest.mark.rare
def test_the_pack_of_a_node_that_is_gone_goes_on_elsewhere_at_once_and_spends_no_retry(tmp_path: Path) -> None:
    """A raylet is killed in the middle of a pack, of two."""
    out = outcome(tmp_path, "long-0", "long-1", "fine-2", what="lose")
    assert out["failures"] == {}
    assert any("is put back (lost)" in line for line in out["said"])
    first, _, again, last = starts(tmp_path)
    assert again.pack == first.pack
    assert again.node != first.node
    assert 0 < again.step < LONG
    assert last.pack == "fine-2"  # the lost pack went before it
    assert out["tried"][0] == "2 nodes"  # each tried the storage
    assert "does not see the driver's folder" in out["tried"][1]


@pytest.mark.rare
def test_a_node_that_fails_pack_after_pack_while_another_works_gets_no_trainer_any_more(tmp_path: Path) -> None:
    out = outcome(tmp_path, *(f"ecc-{number}" for number in range(6)), what="bad")
    broken = (tmp_path / "broken.txt").read_text()
    there = [start.pack for start in starts(tmp_path) if start.node == broken]
    assert len(there) == LIKE
    assert set(out["failures"]) == set(there)  # which the driver's next attempt trains
    assert len([line for line in out["said"] if "this sweep starts no trainer on" in line]) == 1
    elsewhere = {start.pack for start in starts(tmp_path) if start.node != broken}
    assert elsewhere == {f"ecc-{number}" for number in range(6)} - set(there)


@pytest.mark.rare
def test_ray_s_notice_that_a_node_goes_lets_its_pack_be_saved_first(tmp_path: Path) -> None:
    out = outcome(tmp_path, "long-0", "long-1", "fine-2", what="drain")
    assert out["failures"] == {}
    assert "Ray takes the node of slot" in out["said"][0]
    assert "is put back (stopped)" in out["said"][1]
    first, _, again, _ = starts(tmp_path)
    assert f"StoppedError: {again.pack} is saved at step {again.step}" in out["said"][1]
    assert again.node != first.node


@pytest.mark.rare
def test_a_job_that_begins_before_any_node_is_up_waits_with_a_word_and_then_trains(tmp_path: Path) -> None:
    out = outcome(tmp_path, "fine-0", "fine-1", what="late")
    assert out["failures"] == {}
    assert out["said"][0] == (
        "waiting for room for a trainer (1 workers of 1 CPUs and 0 GPUs); the cluster has now: no node with CPUs; it "
        "is waited for up to 15 min"
    )


@pytest.mark.rare
def test_a_node_that_comes_in_the_middle_is_used_within_a_minute(tmp_path: Path) -> None:
    out = outcome(tmp_path, *(f"long-{number}" for number in range(8)), what="grows")
    assert out["failures"] == {}
    assert out["said"] == []
    first = starts(tmp_path)[0]
    there = [start.at for start in starts(tmp_path) if start.node != first.node]
    assert there
    assert min(there) - float((tmp_path / "came.txt").read_text()) < 60


@pytest.mark.rare
def test_a_sweep_that_comes_to_a_full_cluster_gets_half_of_it_at_the_end_of_packs(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    places = [tmp_path / "first", tmp_path / "second"]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    drivers: list[subprocess.Popen[str]] = []
    try:
        for place, packs in zip(places, (16, 3), strict=True):
            place.mkdir()
            words = (str(place), "1", "60", "shares", *(f"long-{number}" for number in range(packs)))
            drivers.append(start_script(PROGRAM, place, *words, RAY_ADDRESS=cluster.address))
            deadline = time.monotonic() + 120
            while not drivers[1:] and not ((place / "starts.txt").exists() and len(starts(place)) == 2):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        told = [driver.communicate(timeout=300)[0] for driver in drivers]
    finally:
        for driver in drivers:
            driver.kill()
        cluster.shutdown()
    assert [driver.returncode for driver in drivers] == [0, 0], told
    first, second = (json.loads((place / "out.json").read_text()) for place in places)
    assert (first["failures"], second["failures"]) == ({}, {})
    assert "this sweep goes on with 1 of its 2 trainers" in first["said"][0]
    assert starts(places[1])[0].at < starts(places[0])[-1].at  # it did not wait for the first sweep's end
    assert [start.step for start in starts(places[0])] == [0] * 16  # no pack was cut short


@pytest.mark.rare
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_to_the_driver_lets_all_trainers_save_and_the_same_command_goes_on(
    tmp_path: Path, workers: int
) -> None:
    driver = begin(tmp_path, "long-0", workers=workers)
    saved, deadline = tmp_path / "long-0-0.steps", time.monotonic() + 120
    while not saved.exists() or int(saved.read_text() or "0") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    driver.send_signal(signal.SIGTERM)
    driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGINT  # the driver's KeyboardInterrupt, which Python turns into this
    said = json.loads((tmp_path / "said.json").read_text())["said"]
    assert said == ["stopping: the trainers save their runs (within 25 s)"]
    step = int(saved.read_text())
    assert 0 < step < LONG
    out = outcome(tmp_path, "long-0", workers=workers)
    assert out["failures"] == {}
    assert {start.step for start in starts(tmp_path)} == {0, step}


@pytest.mark.rare
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_to_one_rank_saves_its_trainer_and_the_pack_goes_on(tmp_path: Path, workers: int) -> None:
    driver = begin(tmp_path, "long-0", workers=workers)
    saved, deadline = tmp_path / f"long-0-{workers - 1}.steps", time.monotonic() + 120
    while not saved.exists() or int(saved.read_text() or "0") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (rank,) = [start for start in starts(tmp_path) if start.rank == workers - 1]
    subprocess.run(["kill", "-TERM", str(rank.process)], check=True)
    told, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, told[-3000:]
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["failures"] == {}
    assert f"rank {workers - 1} on " in out["said"][0]
    assert "its runs are saved" in out["said"][0]
    assert "is put back (stopped)" in out["said"][1]
