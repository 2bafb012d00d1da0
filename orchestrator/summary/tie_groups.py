"""Which methods no corrected comparison separates, as groups with a leader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator.summary.schema import Difference, TieGroup

Standing = Literal["ahead", "tie", "behind"]
STANDINGS: tuple[Standing, ...] = ("ahead", "tie", "behind")
OPPOSITE: Mapping[str, Standing] = {"ahead": "behind", "tie": "tie", "behind": "ahead"}


def tie_groups(
    reference: str | None, means: Mapping[str, float | None], differences: Sequence[Difference]
) -> list[TieGroup]:
    """Return the groups, first the group ahead of the reference; within a group the best mean first: the leader.

    ``means`` are by method, ``differences`` are the reference's, corrected. Two methods are joined by an edge if the
    comparison between them is a tie, or if both stand on the same side of the reference and nothing compared them.
    Groups are the connected parts, so every boundary between groups is a corrected comparison. A group does not say
    that its members are equal: they were not shown to differ. Methods that could not be compared are in no group;
    without any comparison there is no group.
    """
    sides: dict[Standing, list[str]] = {standing: [] for standing in STANDINGS}
    for pair in differences:
        if pair["first"] == reference and pair["verdict"] != "unknown":
            sides[OPPOSITE[pair["verdict"]]].append(pair["second"])
    if reference is None or not any(sides.values()):
        return []
    sides["tie"].insert(0, reference)
    order = {name: (-mean if mean is not None else float("inf")) for name, mean in means.items()}
    groups = [(standing, sorted(names, key=lambda name: order[name])) for standing, names in sides.items() if names]
    return [{"leader": names[0], "methods": names, "standing": standing} for standing, names in groups]
