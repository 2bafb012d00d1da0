"""The network interface of gloo and NCCL: the one with the node's address, unless the user has said otherwise."""

from __future__ import annotations

import os

import pytest

from orchestrator.cluster.trainers.interface import VARIABLES, choose_interface, interface_of


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "x")  # so that it is restored
        monkeypatch.delenv(variable)


def test_the_interface_with_the_address_is_set_for_both_libraries() -> None:
    name = interface_of("127.0.0.1")
    assert name is not None
    assert choose_interface("127.0.0.1") == name
    assert [os.environ[variable] for variable in VARIABLES] == [name, name]


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    choose_interface("127.0.0.1")
    assert os.environ["NCCL_SOCKET_IFNAME"] == "ib0"


def test_an_address_that_no_interface_has_sets_nothing() -> None:
    assert choose_interface("203.0.113.7") is None
    assert not set(VARIABLES) & os.environ.keys()
