"""A trainer loads its base once for all packs, frees it when it is no longer needed, and closes what it has opened."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from d2lora.attachment import adapted_layers
from orchestrator.cluster.local import LocalCluster
from orchestrator.driver.prepare import make_ready
from orchestrator.model.loading import load_model
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.store.run_folder import RunFolder
from orchestrator.worker import pack_trainer, warm_base
from orchestrator.worker.jobs import PackJob
from orchestrator.worker.pack_trainer import PackTrainer
from orchestrator.worker.run_in_training import RunInTraining

CPU = torch.device("cpu")
Loaded = list["weakref.ref[nn.Module]"]


@pytest.fixture
def jobs(recipe: Path, tmp_path: Path) -> list[PackJob]:
    """Return four packs of two runs each."""
    spec = read_recipe(recipe, ["engine.diagnostics=false"])
    ready = make_ready(spec, recipe.parent / ".cache", lambda _: None)
    runs = keyed(expand(spec), ready.base.fingerprint, ready.fingerprints)
    data = {task: str(prepared.path) for task, prepared in ready.data.items()}
    return [
        PackJob(
            folder=str(tmp_path / "sweep"),
            base_path=str(ready.base.path),
            base_fingerprint=ready.base.fingerprint,
            data=data,
            engine=spec.engine,
            pack=Pack(f"p{number}", tuple(runs[2 * number : 2 * number + 2]), ()),
        )
        for number in range(4)
    ]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Return the bases that are loaded from now on, in their order."""
    models: Loaded = []

    def counted(place: Path, dtype: torch.dtype) -> nn.Module:
        model = load_model(place, dtype)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(warm_base, "load_model", counted)
    return models


def ends(job: PackJob) -> list[str | None]:
    return [RunFolder(Path(job.folder) / "runs" / run.key).ended() for run in job.pack.runs]


def test_a_trainer_loads_its_base_once_for_all_packs(jobs: list[PackJob], loaded: Loaded) -> None:
    train = PackTrainer()
    for job in jobs[:2]:
        train(job, CPU)
    assert [ends(job) for job in jobs[:2]] == [["committed"] * 2] * 2
    assert len(loaded) == 1


def test_another_base_or_engine_is_loaded_anew_and_the_last_one_is_freed(jobs: list[PackJob], loaded: Loaded) -> None:
    train = PackTrainer()
    train(jobs[0], CPU)
    train(replace(jobs[1], engine=jobs[1].engine.model_copy(update={"gradient_checkpointing": True})), CPU)
    gc.collect()
    assert [model() is None for model in loaded] == [True, False]


def test_a_trainer_that_has_trained_is_pickled_without_its_base(jobs: list[PackJob], loaded: Loaded) -> None:
    train = PackTrainer()
    train(jobs[0], CPU)
    content = pickle.dumps(train)
    assert len(content) < 1000
    pickle.loads(content)(jobs[1], CPU)
    assert len(loaded) == 2


def test_the_base_is_freed_as_soon_as_the_local_cluster_has_run_its_packs(jobs: list[PackJob], loaded: Loaded) -> None:
    assert LocalCluster().run_packs(jobs[:2], PackTrainer()) == {}
    assert [model() for model in loaded] == [None]


def test_a_pack_that_fails_before_its_first_step_leaves_a_base_that_the_next_pack_can_use(
    jobs: list[PackJob], loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: nn.Module) -> None:
        assert adapted_layers(model)
        raise RuntimeError("no room")

    checkpointed = [replace(job, engine=job.engine.model_copy(update={"gradient_checkpointing": True})) for job in jobs]
    train = PackTrainer()
    with monkeypatch.context() as patch:
        patch.setattr(warm_base, "enable_checkpointing", broken)
        with pytest.raises(RuntimeError, match="no room"):
            train(checkpointed[0], CPU)
    train(checkpointed[1], CPU)
    assert ends(jobs[1]) == ["committed"] * 2
    assert len(loaded) == 1


def test_a_pack_that_fails_while_it_trains_closes_its_logs_and_detaches_its_lanes(
    jobs: list[PackJob], loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[RunInTraining] = []
    close = RunInTraining.close

    def noted(run: RunInTraining) -> None:
        close(run)
        closed.append(run)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(RunInTraining, "close", noted)
    monkeypatch.setattr(pack_trainer, "train_lanes", broken)
    train = PackTrainer()
    with pytest.raises(RuntimeError, match="no room"):
        train(jobs[0], CPU)
    assert [run.run.key for run in closed] == [run.key for run in jobs[0].pack.runs]
    assert all(run._steps is not None and run._steps.closed for run in closed)
    model = loaded[0]()
    assert model is not None
    assert not adapted_layers(model)


def test_a_run_that_another_trainer_has_ended_is_given_up_and_its_neighbour_is_committed(jobs: list[PackJob]) -> None:
    first, _ = (RunFolder(Path(jobs[0].folder) / "runs" / run.key) for run in jobs[0].pack.runs)
    first.begin({}).diverge({"status": "diverged"})
    PackTrainer()(jobs[0], CPU)
    assert ends(jobs[0]) == ["diverged", "committed"]
    assert first.row() == {"status": "diverged"}


def test_a_run_that_is_taken_over_while_it_trains_is_given_up_and_its_neighbour_is_committed(
    jobs: list[PackJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = (RunFolder(Path(jobs[0].folder) / "runs" / run.key) for run in jobs[0].pack.runs)
    train = pack_trainer.train_lanes

    def taken_over(*arguments: object, **words: object) -> None:
        first.begin({})
        train(*arguments, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_trainer, "train_lanes", taken_over)
    PackTrainer()(jobs[0], CPU)
    assert ends(jobs[0]) == [None, "committed"]
