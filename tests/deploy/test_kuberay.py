"""Kubernetes objects of deploy/: Ray's definitions take each, strictly; the nightly submission forbids a second one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.cluster.crds import FOLDER, faults, schema_of
from tests.helpers.places import ROOT

Thing = dict[str, Any]
PLACES = (ROOT / "deploy" / "kuberay", ROOT / "deploy" / "nightly")
CRON_KEYS = {
    "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend", "jobTemplate",
    "successfulJobsHistoryLimit", "failedJobsHistoryLimit",
}  # fmt: skip
JOB_KEYS = {
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "template",
    "parallelism",
    "completions",
}


def thing(name: str) -> Thing:
    (file,) = [place / f"{name}.yaml" for place in PLACES if (place / f"{name}.yaml").exists()]
    loaded = yaml.safe_load(file.read_text())
    assert isinstance(loaded, dict)
    return copy.deepcopy(loaded)


def pods(value: Any) -> list[Thing]:
    """Return every pod's spec within."""
    if isinstance(value, list):
        return [pod for below in value for pod in pods(below)]
    if not isinstance(value, dict):
        return []
    own = [value] if "containers" in value else []
    return own + [pod for below in value.values() for pod in pods(below)]


@pytest.fixture(scope="module")
def crds(shared: Path) -> Path:
    folder = shared / FOLDER
    if not folder.is_dir():
        pytest.skip(f"the definitions of KubeRay are not at {folder}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raycluster", "rayjob", "raycronjob"])
def test_the_definition_takes_it(name: str, crds: Path) -> None:
    loaded = thing(name)
    assert faults(schema_of(crds, loaded["kind"]), loaded) == []


BAD: dict[str, tuple[str, Callable[[Thing], object]]] = {
    "an unknown key": ("idleSeconds", lambda c: c["spec"].update(idleSeconds=3)),
    "an unknown key of a pod": ("nodeselector", lambda c: pods(c)[0].update(nodeselector={})),
    "a word for a number": ("'many' is not of type 'integer'", lambda c: group(c).update(maxReplicas="many")),
    "a mode that is none": ("'off' is not one of", lambda c: c["spec"]["authOptions"].update(mode="off")),
    "no template": ("'template' is a required property", lambda c: group(c).pop("template")),
    "no name": ("'groupName' is a required property", lambda c: group(c).pop("groupName")),
}


def group(cluster: Thing) -> Thing:
    (only,) = cluster["spec"]["workerGroupSpecs"]
    assert isinstance(only, dict)
    return only


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_the_definition_refuses(name: str, crds: Path) -> None:
    reason, spoil = BAD[name]
    loaded = thing("raycluster")
    spoil(loaded)
    told = faults(schema_of(crds, "RayCluster"), loaded)
    assert any(reason in fault for fault in told), told


@pytest.mark.slow
def test_the_nightly_pod_is_a_pod(crds: Path) -> None:
    template = schema_of(crds, "RayCluster")["properties"]["spec"]["properties"]["headGroupSpec"]["properties"][
        "template"
    ]
    assert faults(template, thing("cronjob")["spec"]["jobTemplate"]["spec"]["template"]) == []


def test_the_nightly_submission_forbids_a_second_one() -> None:
    cron = thing("cronjob")
    assert (cron["apiVersion"], cron["kind"]) == ("batch/v1", "CronJob")
    assert set(cron["spec"]) <= CRON_KEYS
    assert set(cron["spec"]["jobTemplate"]["spec"]) <= JOB_KEYS
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert cron["spec"]["startingDeadlineSeconds"] >= 10  # below that nothing starts at all
    assert cron["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", ["raycluster", "rayjob", "cronjob", "raycronjob"])
def test_images_have_a_digest_and_containers_limits(name: str) -> None:
    for pod in pods(thing(name)):
        for container in pod["containers"]:
            assert "@sha256:" in container["image"]
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()


@pytest.mark.parametrize("name", ["raycluster", "rayjob", "raycronjob"])
def test_a_token_is_asked_for_and_trainers_stay_off_the_head(name: str) -> None:
    spec = thing(name)["spec"]
    spec = spec.get("jobTemplate", spec)
    cluster = spec.get("rayClusterSpec", spec)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["replicas"]) == (0, 0)
    shm = [one["mountPath"] for pod in pods(workers) for one in pod["containers"][0]["volumeMounts"]]
    assert shm == ["/dev/shm"]


def test_the_version_of_ray_is_the_pinned_one() -> None:
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert thing("raycluster")["spec"]["rayVersion"] == pinned.removeprefix("ray==")
    assert thing("rayjob")["spec"]["rayClusterSpec"]["rayVersion"] == pinned.removeprefix("ray==")
    nights = thing("raycronjob")["spec"]["jobTemplate"]["rayClusterSpec"]
    assert nights["rayVersion"] == pinned.removeprefix("ray==")


NIGHT_SLIPS: dict[str, tuple[str, Callable[[Thing], object]]] = {
    "a policy that a RayCronJob lacks": ("concurrencyPolicy", lambda c: c["spec"].update(concurrencyPolicy="Forbid")),
    "no schedule": ("'schedule' is a required property", lambda c: c["spec"].pop("schedule")),
    "no template": ("'jobTemplate' is a required property", lambda c: c["spec"].pop("jobTemplate")),
    "an unknown key of the job": ("entryPoint", lambda c: c["spec"]["jobTemplate"].update(entryPoint="x")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NIGHT_SLIPS)
def test_the_definition_refuses_a_night(name: str, crds: Path) -> None:
    reason, spoil = NIGHT_SLIPS[name]
    loaded = thing("raycronjob")
    spoil(loaded)
    told = faults(schema_of(crds, "RayCronJob"), loaded)
    assert any(reason in fault for fault in told), told


def test_secrets_of_nights_are_optional_and_stay_on_the_head() -> None:
    for cluster in (thing("raycluster")["spec"], thing("raycronjob")["spec"]["jobTemplate"]["rayClusterSpec"]):
        heads, workers = pods(cluster["headGroupSpec"]), pods(cluster["workerGroupSpecs"])
        names = {one["name"]: one for pod in heads for one in pod["containers"][0]["env"]}
        for name in ("NIGHTLY_WEBHOOK_URL", "NIGHTLY_WEBHOOK_SECRET"):
            assert names[name]["valueFrom"]["secretKeyRef"]["optional"] is True
        assert not any("NIGHTLY" in one["name"] for pod in workers for one in pod["containers"][0]["env"])


def test_an_image_is_built_without_what_this_machine_made() -> None:
    """A .venv of this machine would be copied, and `make` would take it for finished there."""

    def names(file: str) -> set[str]:
        lines = (ROOT / file).read_text().splitlines()
        return {line.strip("/").removeprefix("**/") for line in lines if line and not line.startswith("#")}

    assert "COPY --chown=ray:ray . ." in (ROOT / "deploy" / "kuberay" / "Dockerfile").read_text()
    assert names(".gitignore") <= names(".dockerignore")
    assert ".git" in names(".dockerignore")
