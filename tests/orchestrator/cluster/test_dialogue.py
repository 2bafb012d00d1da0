"""How long a stop waits for trainers to save their runs."""

from __future__ import annotations

import pytest

from orchestrator.cluster.dialogue import grace
from orchestrator.cluster.signals import GRACE_SECONDS

JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, GRACE_SECONDS),
        (JOB, 2.0),  # `ray job stop` kills after 3 s
        (JOB | {"RAY_JOB_STOP_WAIT_TIME_S": "30"}, GRACE_SECONDS),
        (JOB | {"RAY_JOB_STOP_WAIT_TIME_S": "10"}, 9.0),
        ({"RAY_JOB_STOP_WAIT_TIME_S": "1"}, 1.0),
        ({"RAY_JOB_STOP_WAIT_TIME_S": "soon"}, GRACE_SECONDS),
    ],
)
def test_a_stop_waits_as_long_as_whoever_stops_the_job_waits(variables: dict[str, str], seconds: float) -> None:
    assert grace(variables) == seconds
