"""A trainer on Ray: one actor per rank, in one placement group, from the request for room to the end of its ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.nodes import end_actors, remove_groups
from orchestrator.cluster.placement import bundle_of, resources_of, strategy
from orchestrator.cluster.trainers.ends import end_of
from orchestrator.cluster.trainers.rank import Rank, variables_of

if TYPE_CHECKING:
    from orchestrator.recipe.sections import ClusterSpec

PLACE_SECONDS = 120.0  # for room on the nodes; a trainer that gets none counts as unplaced
START_SECONDS = 300.0  # for the processes of a trainer to start, which may install a runtime environment before
OTHERS_SECONDS = 5.0  # after the first rank that failed: ranks that lose their neighbour fail too, and say why
LOOK_SECONDS = 1


@dataclass(frozen=True)
class Trainers:
    """Runs the trainers of a hub.

    ``hub`` is the name of the hub. ``train`` is a pickled function; each rank unpickles it once and calls it with job
    after job, so ``train`` can keep the base between packs.
    """

    hub: str
    train: bytes
    cluster: ClusterSpec

    def fit(self, name: str) -> End:
        """Run the trainer ``name`` until the hub has no pack left for it or one of its ranks fails; restart no rank."""
        import ray
        from ray.util.placement_group import placement_group

        group = placement_group(
            [bundle_of(self.cluster)] * self.cluster.workers, strategy(resources_of(ray.nodes()), self.cluster)
        )
        actors: list[Any] = []
        try:
            if not _has_room(group):
                return End(f"no node had room for {bundle_of(self.cluster)} in {PLACE_SECONDS:.0f} s", sort="unplaced")
            actors = self._start(name, group)
            return self._train(actors)
        except Exception as error:  # of any type: the hub decides which packs fail
            return end_of(error, {})
        finally:
            end_actors(actors)
            remove_groups([group])

    def _start(self, name: str, group: Any) -> list[Any]:
        """Start the actors, one in each bundle of the group."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = bundle_of(self.cluster)
        options = {"num_cpus": bundle.pop("CPU"), "num_gpus": bundle.pop("GPU", 0), "resources": bundle}
        rank_class = ray.remote(Rank).options(max_restarts=0, max_task_retries=0, **options)
        return [
            rank_class.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote(
                self.hub, name, index
            )
            for index in range(self.cluster.workers)
        ]

    def _train(self, actors: Sequence[Any]) -> End:
        """Let the ranks begin, connect and train; return how they ended.

        The wait for the end of training has no limit: the hub's watch ends a trainer that hangs, and then Ray raises.
        """
        import ray

        begun = [actor.begin.remote() for actor in actors]
        if failures := errors_of(begun, START_SECONDS):
            return _end(failures)
        variables: list[Mapping[str, str]] = [{}]
        if len(actors) > 1:
            port = ray.get(actors[0].offer_port.remote(), timeout=START_SECONDS)
            variables = [*variables_of(ray.get(begun), port)]
        gpus = self.cluster.gpus_per_worker
        failures = errors_of(
            [actor.train.remote(own, self.train, gpus) for actor, own in zip(actors, variables, strict=True)]
        )
        return _end(failures) if failures else End()


def errors_of(calls: Sequence[Any], limit: float | None = None) -> dict[int, Exception]:
    """Wait for the calls of all ranks; return the errors by rank, in the order in which the ranks failed.

    After the first error the other ranks have OTHERS_SECONDS more. A call that has not ended after ``limit`` seconds is
    an error.
    """
    import ray

    ranks = {call: rank for rank, call in enumerate(calls)}
    failures: dict[int, Exception] = {}
    deadline = None if limit is None else time.monotonic() + limit
    while ranks:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ended, _ = ray.wait(list(ranks), timeout=left)
        for call in ended:
            rank = ranks.pop(call)
            try:
                ray.get(call)
            except Exception as error:  # of any type that Ray or the rank raises
                failures[rank] = error
                deadline = deadline if len(failures) > 1 else time.monotonic() + OTHERS_SECONDS
        if not ended:
            break
    if ranks and not failures:
        failures = {rank: TimeoutError(f"rank {rank} has not begun within {limit:.0f} s") for rank in ranks.values()}
    return failures


def _end(failures: Mapping[int, Exception]) -> End:
    return end_of(next(iter(failures.values())), failures)


def _has_room(group: Any) -> bool:
    """Wait until the group has room on nodes; return whether it has."""
    deadline = time.monotonic() + PLACE_SECONDS
    while not group.wait(LOOK_SECONDS):
        if time.monotonic() > deadline:
            return False
    return True
