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
    """Return the groups, those ahead of the reference first; within a group the best mean first: the leader.

    ``differences`` are the reference's, corrected. Two methods are joined by an edge where the comparison between
    them is a tie, or where both stand on the same side of the reference and nothing compared them; groups are the
    connected parts. So every group boundary is a corrected comparison, and a group promises nothing: its members were
    not shown to differ. Methods that could not be compared are in none; without any comparison there is no group.
    """
    sides: dict[Standing, list[str]] = {standing: [] for standing in STANDINGS}
    for found in differences:
        if found["first"] == reference and found["verdict"] != "unknown":
            sides[OPPOSITE[found["verdict"]]].append(found["second"])
    if reference is None or not any(sides.values()):
        return []
    sides["tie"].insert(0, reference)
    order = {name: (-mean if mean is not None else float("inf")) for name, mean in means.items()}
    groups = [(standing, sorted(names, key=lambda name: order[name])) for standing, names in sides.items() if names]
    return [{"leader": names[0], "methods": names, "standing": standing} for standing, names in groups]
