"""Cluster files that ship lack only what each user sets, and each way to spoil one is found with its reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orchestrator.doctor.cluster_file import faults_of, read_cluster_file
from orchestrator.doctor.cluster_rules.starting import SECRETS
from orchestrator.errors import InputError
from tests.helpers.cluster.cluster_files import SHIPPED, Config, add, node, replace, shipped
from tests.helpers.places import ROOT
from tests.orchestrator.doctor.bad_cluster_files import BAD, HEAD, _home_on_nfs


def _without_disk_type(config: Config) -> None:
    node(config)["disks"][0]["initializeParams"].pop("diskType")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_lacks_only_what_a_user_sets_and_a_comment_marks_it(name: str) -> None:
    faults = faults_of(read_cluster_file(ROOT / name))
    assert {fault.kind for fault in faults} == {"unset"}, [str(fault) for fault in faults if fault.kind == "wrong"]
    text = (ROOT / name).read_text()
    assert "SET THIS" in text
    assert not SECRETS.search(text)


def test_a_file_in_which_all_is_set_has_no_fault() -> None:
    text = json.dumps(shipped())
    for pattern, value in {
        r"(ami|subnet|sg|fs)-0{17}": r"\g<1>-0123456789abcdef0",
        r"iam::0{12}": "iam::123456789012",
    }.items():
        text = re.sub(pattern, value, text)
    assert faults_of(json.loads(text)) == []


@pytest.mark.parametrize("name", BAD)
def test_what_it_must_not_be_is_found(name: str) -> None:
    config = shipped()
    reason, spoil = BAD[name]
    before = {str(fault) for fault in faults_of(config)}
    assert not any(reason in fault for fault in before)
    spoil(config)
    new = [fault for fault in faults_of(config) if str(fault) not in before and fault.kind == "wrong"]
    assert any(reason in str(fault) for fault in new), [str(fault) for fault in new]
    assert all(fault.remedy for fault in new)


def test_there_are_more_than_twenty_bad_variants() -> None:
    assert len(BAD) >= 20


def test_every_placeholder_is_named_with_its_place() -> None:
    unset = {fault.place: fault.what for fault in faults_of(shipped()) if fault.kind == "unset"}
    for kind in ("head", "gpu"):
        place = f"available_node_types.{kind}.node_config"
        assert unset[f"{place}.ImageId"] == "ami-00000000000000000 is a placeholder"
        assert {f"{place}.SubnetIds[0]", f"{place}.SecurityGroupIds[0]", f"{place}.IamInstanceProfile.Arn"} <= set(
            unset
        )


def test_a_documentation_address_is_a_placeholder_and_no_range() -> None:
    config = shipped()
    add("setup_commands", "ping 192.0.2.1")(config)
    assert any(fault.what == "192.0.2.1 is a placeholder" for fault in faults_of(config))


def test_a_database_server_makes_a_home_on_a_network_file_system_right() -> None:
    config = shipped()
    _home_on_nfs(config)
    replace(HEAD, "D2LORA_HOME", "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 D2LORA_HOME")(config)
    assert {fault.kind for fault in faults_of(config)} == {"unset"}


@pytest.mark.parametrize(
    ("name", "reason", "spoil"),
    [
        ("deploy/gcp.yaml", "accessConfigs", lambda c: node(c)["networkInterfaces"][0].update(accessConfigs=[{}])),
        ("deploy/gcp.yaml", "mutable image", lambda c: node(c)["disks"][0].pop("initializeParams")),
        ("deploy/gcp.yaml", "no service account", lambda c: node(c, "head").pop("serviceAccounts")),
        ("deploy/gcp.yaml", "spot machine", lambda c: node(c, "head").update(scheduling=[{"preemptible": True}])),
        ("deploy/gcp.yaml", "public addresses", lambda c: c["provider"].pop("use_internal_ips")),
        ("deploy/gcp.yaml", "g2-standard-8 starts from no disk", _without_disk_type),
        ("deploy/gcp.yaml", "without MLflow's database", lambda c: c["provider"].pop("cache_stopped_nodes")),
        ("deploy/local.yaml", "an address of the internet", lambda c: c["provider"].update(head_ip="8.8.8.8")),
        ("deploy/local.yaml", "auth off", replace(HEAD, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    ],
)
def test_the_other_providers_have_rules_too(name: str, reason: str, spoil: object) -> None:
    config = shipped(name)
    assert callable(spoil)
    spoil(config)
    assert any(reason in str(fault) and fault.kind == "wrong" for fault in faults_of(config))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("a: [", "Correct the YAML"),
        ("- 1", "no section `provider`"),
        ("kind: RayCluster\n", "kubectl apply --dry-run=server"),
        ("provider: aws", "no section `provider`"),
    ],
)
def test_what_is_no_cluster_file_is_refused(content: str | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=reason) as refusal:
        read_cluster_file(file)
    assert str(file) in str(refusal.value)


def test_a_file_with_parts_of_other_forms_is_judged_without_a_traceback() -> None:
    odd = {"provider": {"type": "aws", "security_group": 3}, "available_node_types": {"head": [1]}, "docker": "x"}
    assert faults_of({**odd, "setup_commands": [1, {"a": 2}], "file_mounts": []})
    assert faults_of({**odd, "setup_commands": 3, "head_start_ray_commands": "ray start", "file_mounts": "x"})
