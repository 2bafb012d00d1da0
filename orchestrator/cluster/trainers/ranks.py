"""A trainer on Ray: one actor per rank, in one placement group, from the request for room to the end of its ranks."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.nodes import end_actors, remove_groups
from orchestrator.cluster.hub.room import RoomRequest
from orchestrator.cluster.placement import Strategy, bundle_of, resources_of, strategy
from orchestrator.cluster.trainers.ends import end_of
from orchestrator.cluster.trainers.rank import Rank, variables_of

if TYPE_CHECKING:
    from orchestrator.recipe.cluster_section import ClusterSpec

START_SECONDS = 300.0  # for the processes of a trainer to start, which may install a runtime environment before
OTHERS_SECONDS = 5.0  # after the first rank that failed: ranks that lose their neighbour fail too, and say why
LOOK_SECONDS = 1
NODE_LABEL = "ray.io/node-id"  # Ray labels each node with its id
STRATEGY_LOOKS = 15  # after so many looks without room: the nodes may be others now


@dataclass(frozen=True)
class Trainers:
    """Runs the trainers of a hub.

    ``hub`` is the name of the hub. ``train`` is a pickled function; each rank unpickles it once and calls it with job
    after job, so ``train`` can keep the base between packs.
    """

    hub: str
    train: bytes
    cluster: ClusterSpec

    def fit(self, name: str, request: RoomRequest) -> End:
        """Run the trainer ``name`` until the hub has no pack left for it or one of its ranks fails; restart no rank.

        The wait for room lasts as long as the request is wanted; the hub has the limit.
        """
        try:
            group = self._group(request)
        except Exception as error:  # of any type, as a name of a resource that Ray refuses
            return end_of(error, {})
        if group is None:
            return End(sort="unplaced")
        request.has_room = True
        actors: list[Any] = []
        try:
            actors = self._start(name, group)
            return self._train(actors)
        except Exception as error:  # of any type: the hub decides which packs fail
            return end_of(error, {})
        finally:
            end_actors(actors)
            remove_groups([group])

    def _group(self, request: RoomRequest) -> Any:
        """Return a placement group with room for all ranks; None if the trainer is not wanted any more."""
        from ray.util.placement_group import placement_group

        while request.wanted:
            avoid, bundles = request.avoid, [bundle_of(self.cluster)] * self.cluster.workers
            how = self._strategy(avoid)
            group = placement_group(bundles, how, bundle_label_selector=without(avoid, len(bundles)))
            try:
                if self._has_room(group, how, avoid, request):
                    return group
            except BaseException:
                remove_groups([group])
                raise
            remove_groups([group])
        return None

    def _strategy(self, avoid: Collection[str]) -> Strategy:
        import ray

        return strategy(resources_of([node for node in ray.nodes() if node["NodeID"] not in avoid]), self.cluster)

    def _has_room(self, group: Any, how: Strategy, avoid: Collection[str], request: RoomRequest) -> bool:
        """Wait for room while the trainer is wanted, and ``how`` and ``avoid`` suit the nodes that are there."""
        for look in count(1):
            if group.wait(LOOK_SECONDS):
                return True
            if not request.wanted or request.avoid != avoid:
                return False
            if look % STRATEGY_LOOKS == 0 and self._strategy(avoid) != how:
                return False
        raise AssertionError("count has no end")

    def _start(self, name: str, group: Any) -> list[Any]:
        """Start the actors, one in each bundle of the group."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = bundle_of(self.cluster)
        options = {"num_cpus": bundle.pop("CPU"), "num_gpus": bundle.pop("GPU", 0), "resources": bundle}
        rank_class = ray.remote(max_restarts=0, max_task_retries=0, **options)(Rank)
        places = [PlacementGroupSchedulingStrategy(group, index) for index in range(self.cluster.workers)]
        return [
            rank_class.options(scheduling_strategy=place).remote(self.hub, name, rank)
            for rank, place in enumerate(places)
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


def without(nodes: Collection[str], bundles: int) -> list[dict[str, str]] | None:
    """Return the label selector of each bundle of a group that is on none of these nodes; None if all nodes will do.

    >>> without({"5f", "07"}, 1)
    [{'ray.io/node-id': '!in(07,5f)'}]
    """
    return [{NODE_LABEL: f"!in({','.join(sorted(nodes))})"}] * bundles if nodes else None


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
        failures = {
            rank: TimeoutError(f"rank {rank} has not begun within {limit:.0f} s; `ray status` shows its node")
            for rank in ranks.values()
        }
    return failures


def _end(failures: Mapping[int, Exception]) -> End:
    return end_of(next(iter(failures.values())), failures)
