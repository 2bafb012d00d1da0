"""Fixtures of this folder: Amazon's cloud as moto plays it."""

from __future__ import annotations

from tests.helpers.cluster.ec2 import cloud  # noqa: F401 - a fixture
from tests.helpers.stores import server  # noqa: F401 - a fixture
