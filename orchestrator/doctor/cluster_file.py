"""Read a file of `ray up` and name its faults: what it opens, trusts, loses or pays for, and what is not set yet."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import yaml

from orchestrator.doctor.cluster_rules.fault import Config, Fault, provider
from orchestrator.doctor.cluster_rules.network import network
from orchestrator.doctor.cluster_rules.nodes import nodes
from orchestrator.doctor.cluster_rules.starting import starting
from orchestrator.doctor.cluster_rules.storage import storage
from orchestrator.doctor.cluster_rules.unset import unset
from orchestrator.errors import InputError

PROVIDERS = ("aws", "gcp", "local")


def faults_of(config: Config) -> list[Fault]:
    """Return every fault of a cluster file; a shipped template has only faults of the kind "unset"."""
    known = provider(config) in PROVIDERS
    other = Fault(
        "provider.type",
        f"{provider(config)!r} is not among {', '.join(PROVIDERS)}, so its network and machines are not judged",
        "Judge them by the documents of the provider; the commands below are judged",
    )
    rules = network(config), nodes(config), starting(config), storage(config), unset(config)
    return [*([] if known else [other]), *chain.from_iterable(rules)]


def read_cluster_file(path: Path) -> Config:
    """Return the content of a cluster file; InputError if the file is not there or is no file of `ray up`."""
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}. Give a file of `ray up`.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}. Correct the YAML.") from error
    if not isinstance(config, Mapping) or not isinstance(config.get("provider"), Mapping):
        kind = config.get("kind") if isinstance(config, Mapping) else None
        instead = "`kubectl apply --dry-run=server -f` judges it" if kind else "it has no section `provider`"
        raise InputError(f"{path} is no file of `ray up`: {instead}. Give one, for example cluster.yaml.")
    return config
