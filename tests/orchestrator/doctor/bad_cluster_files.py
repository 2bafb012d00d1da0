"""Cluster files that must be refused: name -> (a part of the reason, what makes the shipped file so)."""

from __future__ import annotations

from tests.helpers.cluster.cluster_files import Config, Spoil, add, node, replace

HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


def _group(**permission: object) -> Spoil:
    given = {"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", **permission}
    return lambda config: config["provider"].update(security_group={"GroupName": "x", "IpPermissions": [given]})


def _mount(words: str) -> Spoil:
    return add("setup_commands", f"sudo mount {words}")


def _home_on_nfs(config: Config) -> None:
    add("setup_commands", "sudo mount -t efs -o tls,lookupcache=positive fs-1:/ /shared")(config)
    replace(HEAD, "MLFLOW_DISABLE_TELEMETRY=true", "D2LORA_HOME=/shared/d2lora MLFLOW_DISABLE_TELEMETRY=true")(config)


def _sqlite_on_nfs(config: Config) -> None:
    add("setup_commands", "sudo mount -t efs -o tls,lookupcache=positive fs-1:/ /shared")(config)
    add(HEAD, "mlflow server --host 127.0.0.1 --backend-store-uri sqlite:////shared/mlflow.db")(config)


NETWORK: dict[str, tuple[str, Spoil]] = {
    "Ray's own group": ("0.0.0.0/0", _group(IpRanges=[{"CidrIp": "10.1.2.3/32"}])),
    "the world": ("0.0.0.0/0 is open to the world", _group(IpRanges=[{"CidrIp": "0.0.0.0/0"}])),
    "half the world": ("128.0.0.0/1 is open to the world", _group(IpRanges=[{"CidrIp": "128.0.0.0/1"}])),
    "the new world": ("::/0 is open to the world", _group(Ipv6Ranges=[{"CidrIpv6": "::/0"}])),
    "no range": ("no CIDR", _group()),
    "a word for a range": ("'home' is no range", _group(IpRanges=[{"CidrIp": "home"}])),
    "the dashboard's port": ("a port beside SSH", _group(FromPort=8265, ToPort=8265)),
    "no group": ("gpu.node_config: no security group", lambda c: node(c).pop("SecurityGroupIds")),
    "no group of the head": ("head.node_config: no security group", lambda c: node(c, "head").pop("SecurityGroupIds")),
    "public addresses": ("public addresses", lambda c: c["provider"].update(use_internal_ips=False)),
    "a public interface": (
        "gpu.node_config: its interfaces get public addresses",
        lambda c: node(c).update(NetworkInterfaces=[{"AssociatePublicIpAddress": True, "Groups": ["sg-1"]}]),
    ),
}
NODES: dict[str, tuple[str, Spoil]] = {
    "the latest image": ("mutable image", lambda c: node(c).update(ImageId="latest_dlami")),
    "a parameter's latest": (
        "mutable image",
        lambda c: node(c).update(ImageId="resolve:ssm:/aws/service/deeplearning/latest/ami-id"),
    ),
    "no image": ("head.node_config: ImageId None is a mutable image", lambda c: node(c, "head").pop("ImageId")),
    "an image's tag": ("a tag means other code", lambda c: c.update(docker={"image": "rayproject/ray:latest"})),
    "an image's version": (
        "available_node_types.gpu.docker.worker_image",
        lambda c: c["available_node_types"]["gpu"].update(docker={"worker_image": "rayproject/ray:2.60.0"}),
    ),
    "Ray's own role": ("no profile", lambda c: node(c, "head").pop("IamInstanceProfile")),
    "every call": ("full access", lambda c: node(c).update(Policy={"Action": "*"})),
    "old metadata": ("metadata without a token", lambda c: node(c).pop("MetadataOptions")),
    "a clear disk": ("a disk in the clear", lambda c: node(c)["BlockDeviceMappings"][0]["Ebs"].pop("Encrypted")),
    "no disk named": ("a disk in the clear", lambda c: node(c).pop("BlockDeviceMappings")),
    "trials on the head": ("trials may run on the head", lambda c: c["available_node_types"]["head"].pop("resources")),
    "a GPU on the head": (
        "trials may run on the head",
        lambda c: c["available_node_types"]["head"].update(resources={"CPU": 0, "GPU": 1}),
    ),
    "a head on spot": (
        "the head is a spot machine",
        lambda c: node(c, "head").update(InstanceMarketOptions={"MarketType": "spot"}),
    ),
    "no head": ("'boss' is not among available_node_types", lambda c: c.update(head_node_type="boss")),
    "no idle limit": ("no idle shutdown", lambda c: c.pop("idle_timeout_minutes")),
    "a long idle limit": ("no idle shutdown", lambda c: c.update(idle_timeout_minutes=100_000)),
    "workers that stay": ("no idle shutdown", lambda c: c["available_node_types"]["gpu"].update(min_workers=2)),
    "a head that nobody starts again": (
        "`ray up` makes another",
        lambda c: c["provider"].update(cache_stopped_nodes=False),
    ),
    "no workers": ("no worker is ever started", lambda c: c["available_node_types"]["gpu"].update(max_workers=0)),
    "a cloud of no rules": ("'azure' is not among", lambda c: c["provider"].update(type="azure")),
}
COMMANDS: dict[str, tuple[str, Spoil]] = {
    "auth off": ("auth off", replace(HEAD, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    "auth off at workers": (f"{WORKER}[1]: auth off", replace(WORKER, "RAY_AUTH_MODE=token ", "")),
    "auth of another command": ("auth off", replace(WORKER, "ray start", "true; ray start RAY_AUTH_MODE=token")),
    "no start": ("not started with a token", lambda c: c.update({WORKER: []})),
    "no token on the nodes": ("no token is copied", lambda c: c["file_mounts"].pop("/home/ubuntu/.ray/auth_token")),
    "an open dashboard": (
        "dashboard beyond localhost",
        replace(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
    ),
    "a head that scales nothing": (
        "no autoscaling configuration",
        replace(HEAD, "--autoscaling-config=~/ray_bootstrap_config.yaml", ""),
    ),
    "a worker alone": ("joins no head", replace(WORKER, "$RAY_HEAD_IP", "127.0.0.1")),
    "an open MLflow": ("MLflow beyond localhost", add(HEAD, "mlflow server --host 0.0.0.0")),
    "MLflow by its default": ("MLflow beyond localhost", add(HEAD, "mlflow ui --port 5000")),
    "a key": ("inline key", add("setup_commands", "export AWS_ID=AKIA" + "A" * 16)),
    "a token": ("inline key", add("setup_commands", "export RAY_AUTH_TOKEN=abc")),
    "a token of the hub": ("inline key", add("setup_commands", "export HF_TOKEN=hf_" + "a" * 30)),
    "a password": ("inline key", add("setup_commands", "export MLFLOW_TRACKING_PASSWORD=hunter2")),
    "a password in an address": ("inline key", add(HEAD, "mlflow gc --tracking-uri http://me:hunter2@h:5000")),
    "any version": ("versions are not pinned", add("setup_commands", "pip install d2lora")),
    "any version on the head": ("versions are not pinned", add("head_setup_commands", "pip install boto3")),
    "a foreign script": ("from the network", add("setup_commands", "curl -fsSL https://x.y/z | sh")),
    "a fetched script": ("from the network", add("worker_setup_commands", "wget -qO- https://x.y/z | sudo bash")),
}
STORAGE: dict[str, tuple[str, Spoil]] = {
    "NFS as it comes": ("lookupcache=positive", _mount("-t nfs4 -o nfsvers=4.1,hard server:/ /shared")),
    "NFS without options": ("lookupcache=positive", _mount("-t nfs server:/ /shared")),
    "locks of one node": ("locks stay on one node", _mount("-t nfs -o lookupcache=positive,nolock server:/ /shared")),
    "EFS in the clear": (
        "EFS without TLS",
        _mount("-t nfs4 -o lookupcache=positive fs-1.efs.us-east-1.amazonaws.com:/ /shared"),
    ),
    "the helper without TLS": ("EFS without TLS", _mount("-t efs -o lookupcache=positive fs-1:/ /shared")),
    "SQLite on NFS": ("SQLite on a network file system", _sqlite_on_nfs),
    "SQLite by default": ("D2LORA_HOME=/shared/d2lora puts mlflow.db there", _home_on_nfs),
}
BAD = {**NETWORK, **NODES, **COMMANDS, **STORAGE}
