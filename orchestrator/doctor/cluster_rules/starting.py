"""Rules of the commands that start Ray and MLflow: a token, loopback, pinned versions, no secret in a command."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.doctor.cluster_rules.fault import Config, Fault, commands, texts

STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
SETUPS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
SECRETS = re.compile(
    r"BEGIN [A-Z ]*PRIVATE KEY|\b(AKIA|ASIA)[0-9A-Z]{16}\b|aws_secret_access_key|RAY_AUTH_TOKEN=\S|hf_[A-Za-z0-9]{20}"
    r"|PASSWORD=[^$\s'\"]|://[^\s/:@]+:[^\s/@$]+@",
)
TOKEN_FILE = ".ray/auth_token"  # noqa: S105 - the name of the file that holds it # nosec B105
WITH_TOKEN = re.compile(r"\b(?:RAY_AUTH_MODE=token\b[^;&|]*|export RAY_AUTH_MODE=token\b.*)\bray start\b")
PIPED = re.compile(r"(?:curl|wget)[^|;&]*\|\s*(?:sudo )?(?:ba|z)?sh\b")


def starting(config: Config) -> Iterator[Fault]:
    """Yield what is wrong with commands."""
    for name in STARTS:
        yield from _start(config, name)
    if not any(TOKEN_FILE in place for place, _ in texts(config.get("file_mounts"))):
        what = "no token is copied to the nodes, so they cannot join"
        yield Fault("file_mounts", what, f"Add /home/USER/{TOKEN_FILE}: ~/{TOKEN_FILE}")
    for place, command in commands(config, *SETUPS):
        yield from _setup(command, place)
    for place, command in commands(config, *SETUPS, *STARTS):
        if re.search(r"mlflow (?:server|ui)\b", command) and "--host 127.0.0.1" not in command.replace("=", " "):
            yield Fault(place, "MLflow beyond localhost", "Give --host 127.0.0.1; trainers do not talk to MLflow")
    for place, text in texts(config):
        if SECRETS.search(text):
            what = "an inline key: Ray copies this file to the head, and shows commands in its log"
            yield Fault(place, what, "Put the secret into a file of mode 600, and name that file in file_mounts")


def _start(config: Config, name: str) -> Iterator[Fault]:
    starts = [(place, command) for place, command in commands(config, name) if "ray start" in command]
    if not starts:
        yield Fault(name, "Ray is not started with a token (auth off)", "Write `RAY_AUTH_MODE=token ray start ...`")
    for place, command in starts:
        if not WITH_TOKEN.search(command):
            what = "auth off: whoever reaches the port runs code as you"
            yield Fault(place, what, "Write RAY_AUTH_MODE=token before `ray start`")
        if "--head" in command and "--dashboard-host=127.0.0.1" not in command:
            what = "dashboard beyond localhost"
            yield Fault(place, what, "Give --dashboard-host=127.0.0.1; `ray dashboard FILE` leads there over SSH")
        if "--head" in command and "--autoscaling-config=" not in command:
            what = "the head gets no autoscaling configuration, so no worker is ever started"
            yield Fault(place, what, "Give --autoscaling-config=~/ray_bootstrap_config.yaml")
        if name == STARTS[1] and "$RAY_HEAD_IP" not in command:
            yield Fault(place, "the worker joins no head", "Give --address=$RAY_HEAD_IP:6379")


def _setup(command: str, place: str) -> Iterator[Fault]:
    if "pip install" in command and "constraints.txt" not in command:
        yield Fault(place, "versions are not pinned", "Give -c constraints.txt")
    if PIPED.search(command):
        yield Fault(place, "a script from the network is run", "Fetch it at a version, and compare its sha256 first")
