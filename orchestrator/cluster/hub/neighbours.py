"""The other sweeps on the same Ray cluster: their hubs are found by the prefix of their names."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.cluster.hub.sharing import Standing

PREFIX = "d2lora-hub-"
ASK_SECONDS = 5.0  # for the other hubs to answer


def look_around() -> tuple[list[Standing], dict[str, float]]:
    """Return where the other sweeps stand, and what is free on the cluster by Ray's name of the resource.

    A hub that does not answer is left out. Without other hubs nobody needs to know what is free.
    """
    import ray

    own = ray.get_runtime_context().get_actor_name()
    hubs = [
        one
        for one in ray.util.list_named_actors(all_namespaces=True)
        if one["name"].startswith(PREFIX) and one["name"] != own
    ]
    answers = []
    for hub in hubs:
        with suppress(Exception):  # of any kind: it ends just now, or is of another version
            answers.append(ray.get_actor(hub["name"], namespace=hub["namespace"]).standing.remote())
    ready, _ = ray.wait(answers, num_returns=len(answers), timeout=ASK_SECONDS) if answers else ([], [])
    standings = []
    for answer in ready:
        with suppress(Exception):
            standings.append(ray.get(answer))
    return standings, ray.available_resources() if standings else {}
