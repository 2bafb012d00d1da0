"""Tell people of a night, once: a signed POST to a webhook, or a program of their own; it never fails the night."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.addresses import without_secrets
from orchestrator.nightly.message import Message
from orchestrator.nightly.telling.program import run_program
from orchestrator.nightly.telling.records import ABOUT, Records
from orchestrator.nightly.telling.signature import key_of
from orchestrator.nightly.telling.webhook import Delivered, Delivery, Patience, fault_of_address, origin_of
from orchestrator.recipe.nightly_section import TellSpec
from orchestrator.say import Say

LONGEST = 300  # characters of a problem


@dataclass(frozen=True)
class Told:
    """Whether people were told: ``to`` whom (never an address with its secrets), at which attempt, else the problem.

    ``status`` is "nobody" where no address is set. ``again`` tells that an earlier start of this night was killed while
    it told, so the message may have arrived twice, under one ``id``.
    """

    to: str
    status: Literal["told", "failed", "nobody"]
    attempts: int
    problem: str | None = None
    id: str = ""
    again: bool = False

    def content(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


@dataclass(frozen=True)
class _Channel:
    """A way to people: its name without secrets, what sends a message, and what to say of a message that arrived."""

    to: str
    send: Callable[[Message], Delivered]
    note: str | None = None


def tell(
    spec: TellSpec,
    message: Message,
    folder: Path,
    say: Say,
    environment: Mapping[str, str] = os.environ,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Told:
    """Send a message, unless it was told already; say what came of it, and return it. No failure leaves here.

    ``folder`` is the folder of the night; it keeps the records. At the end of ``patience.total`` seconds the delivery
    is given up.
    """
    try:
        told = _tell(spec, message, Records(folder), say, environment, patience)
    except Exception as error:  # telling is never worth a night; the error's text may hold an address
        told = Told("people", "failed", 0, f"{type(error).__name__} within the telling", message.id)
    if told.status != "told":
        say(f"nobody was told of this night: {told.problem}")
    elif told.problem:
        say(f"told {told.to}, but {told.problem}")
    return told


def _tell(
    spec: TellSpec, message: Message, records: Records, say: Say, environment: Mapping[str, str], patience: Patience
) -> Told:
    known = records.of(message.id)
    if known and known["status"] == "told":
        return Told(**known)
    channel = _channel(spec, environment, patience)
    if isinstance(channel, str):
        return Told("nobody", "nobody", 0, channel, message.id)
    again = known is not None and known["status"] == ABOUT
    if again:
        say(f"{channel.to} may have been told already, by a start that was killed: told again under the same id")
    _keep(records, message.id, {"status": ABOUT, "to": channel.to}, say)
    delivered = channel.send(message)
    problem = delivered.problem and _hidden(f"{channel.to}: {delivered.problem}", spec, environment)
    status: Literal["told", "failed"] = "failed" if problem else "told"
    told = Told(channel.to, status, delivered.attempts, problem or channel.note, message.id, again)
    _keep(records, message.id, told.content(), say)
    return told


def _channel(spec: TellSpec, environment: Mapping[str, str], patience: Patience) -> _Channel | str:
    """Return the way to people that the recipe names, or why there is none, with the remedy."""
    if spec.command:
        command = spec.command
        name = f"the program {Path(command[0]).name}"
        return _Channel(name, lambda message: Delivered(1, run_program(command, message.body, patience.total)))
    address = environment.get(spec.url_from, "").strip()
    if not address:
        return f"${spec.url_from} is not set. Export the address of a webhook, or give nightly.tell.command"
    if fault := fault_of_address(address):
        return f"${spec.url_from} cannot be used: {fault}"
    secret = environment.get(spec.secret_from, "").strip() or None
    try:
        key_of(secret or "")
    except ValueError as error:
        return f"${spec.secret_from} cannot be used: {error}"
    return _Channel(
        origin_of(address),
        lambda message: Delivery(address, message.id, message.body, secret, patience).run(),
        None if secret else f"the message is not signed: ${spec.secret_from} is not set",
    )


def _keep(records: Records, message_id: str, record: dict[str, Any], say: Say) -> None:
    """Write a record; a record that cannot be written does not keep people from being told."""
    try:
        records.write(message_id, record)
    except OSError as error:
        say(f"that people are told cannot be kept ({error.strerror}): a restart of this night would tell them again")


def _hidden(text: str, spec: TellSpec, environment: Mapping[str, str]) -> str:
    """Return a text of another program or library without the secret, the address, and the secrets of addresses."""
    for value in (environment.get(spec.url_from, "").strip(), environment.get(spec.secret_from, "").strip()):
        text = text.replace(value, "***") if value else text
    return without_secrets(text)[:LONGEST]
