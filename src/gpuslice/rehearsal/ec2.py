"""An EC2 for Karpenter's AWS controller, played by moto: a process of its own on loopback.

moto carries EC2's real data on instance types and offerings. Added to it: what an EKS cluster has (network, role,
machine images and the parameters that lead to them), and where moto differs from EC2 in ways that Karpenter minds:

- it launches the first of a fleet's types, EC2 the cheapest that it has;
- it knows no lack of capacity;
- an instance has no security groups if a launch template names them, which Karpenter takes for drift;
- every spot price is the same: here, types have one only if the catalog knows it.

    python -m gpuslice.rehearsal.ec2 SETTINGS.json
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

ACCOUNT: Final = "123456789012"
ROLE: Final = "gpuslice-rehearsal"
CLUSTER: Final = "gpuslice-rehearsal"
DISCOVERY_TAG: Final = {"Key": "karpenter.sh/discovery", "Value": CLUSTER}
NVIDIA: Final = "nvidia"
"""Part of the name of an image with NVIDIA's driver."""
_ARCHITECTURES: Final = ("x86_64", "arm64")


class Settings(msgspec.Struct, frozen=True):
    """What the played EC2 is told, by a file.

    Attributes:
        port: to listen on, on loopback.
        region: of AWS.
        kubernetes: such as "1.35".
        al2023, bottlerocket: versions of the machine images there are, such as "v20260801".
        prices: dollars an hour of a type, by purchase.
        unavailable: a file with a JSON list of the types that are out of capacity, read at each launch.
        ready: a file that is written once everything is there.
    """

    port: int
    region: str
    kubernetes: str
    al2023: str
    bottlerocket: str
    prices: Mapping[str, Mapping[str, float]]
    unavailable: str
    ready: str

    def out_of_capacity(self) -> frozenset[str]:
        """Types that can't be launched now."""
        return frozenset(json.loads(Path(self.unavailable).read_text()))


def main() -> None:
    """Serve until killed."""
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    os.environ |= {"AWS_ACCESS_KEY_ID": "played", "AWS_SECRET_ACCESS_KEY": "played"}
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=settings.port, verbose=False)
    server.start()
    group = _seed(settings)
    _launch_the_cheapest(settings)
    _keep_security_groups(group)
    _tell_spot_prices(settings)
    Path(settings.ready).touch()
    signal.pause()


def _seed(settings: Settings) -> str:
    """Make what a cluster has; returns the id of the nodes' security group."""
    import boto3
    from moto.ec2.models import ec2_backends

    endpoint = f"http://127.0.0.1:{settings.port}"
    session = boto3.Session(region_name=settings.region)
    ec2 = session.client("ec2", endpoint_url=endpoint)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    # One zone: of equal prices Karpenter draws the zone at random, and nothing here depends on it.
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/17", AvailabilityZone=f"{settings.region}a")
    group: str = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
    ec2.create_tags(Resources=[subnet["Subnet"]["SubnetId"], group], Tags=[DISCOVERY_TAG])
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    session.client("iam", endpoint_url=endpoint).create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
    session.client("eks", endpoint_url=endpoint).create_cluster(
        name=CLUSTER,
        version=settings.kubernetes,
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
        resourcesVpcConfig={"subnetIds": []},
    )
    for name, architecture, parameters in _images(settings):
        image = ec2.register_image(Name=name, Architecture=architecture, RootDeviceName="/dev/xvda")
        ec2_backends[ACCOUNT][settings.region].amis[image["ImageId"]].architecture = architecture
        for parameter in parameters:
            _put_parameter(settings.region, parameter, image["ImageId"])
    return group


def _images(settings: Settings) -> list[tuple[str, str, list[str]]]:
    """Machine images: name, architecture, and the parameters by which Karpenter finds them."""
    images = []
    version = settings.kubernetes
    for architecture in _ARCHITECTURES:
        for variant in ("standard", NVIDIA):
            name = f"amazon-eks-node-al2023-{architecture}-{variant}-{version}-{settings.al2023}"
            root = f"/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{architecture}/{variant}"
            images.append((name, architecture, [f"{root}/{path}/image_id" for path in ("recommended", name)]))
        for variant in ("", f"-{NVIDIA}"):
            flavour = f"aws-k8s-{version}{variant}"
            number = settings.bottlerocket.removeprefix("v")
            root = f"/aws/service/bottlerocket/{flavour}/{architecture}"
            name = f"bottlerocket-{flavour}-{architecture}-{settings.bottlerocket}"
            images.append((name, architecture, [f"{root}/{name}/image_id" for name in ("latest", number)]))
    return images


def _put_parameter(region: str, name: str, value: str) -> None:
    """Past moto's own API, which as the real one refuses names that begin with /aws."""
    from moto.ssm import models

    # Its abstract methods are those of another service, and SSM's own backend doesn't mind either.
    parameter: Any = models.Parameter

    models.ssm_backends[ACCOUNT][region]._parameters[name].append(  # noqa: SLF001  there is no other way in
        parameter(
            account_id=ACCOUNT,
            name=name,
            value=value,
            parameter_type="String",
            description="",
            allowed_pattern=None,
            keyid=None,
            last_modified_date=dt.datetime.now(tz=dt.UTC),
            version=1,
            data_type="text",
            labels=[],
            source_result=None,
        )
    )


def _launch_the_cheapest(settings: Settings) -> None:
    """Launch as EC2 does by Karpenter's strategies; without capacity there is an error for each offer."""
    from moto.core.responses import ActionResult
    from moto.ec2.models import fleets as model
    from moto.ec2.responses import fleets as responses

    def counts(fleet: Any, weight: float) -> tuple[dict[object, int], float]:  # noqa: ANN401  moto's, without types
        missing = settings.out_of_capacity()
        purchase = fleet.target_capacity_specification["DefaultTargetCapacityType"]
        there = [
            launch_spec for launch_spec in fleet.launch_specs if launch_spec.instance_type not in missing
        ]
        if not there:
            return {}, weight
        # Priorities are given where an overlay changes a price; the lower, the sooner.
        chosen = min(
            there,
            key=lambda entry: (
                float((entry.overrides or {}).get("Priority", 0)),
                settings.prices.get(entry.instance_type, {}).get(purchase, float("inf")),
            ),
        )
        return {chosen: int(weight)}, weight

    fleet_class: Any = model.Fleet
    response_class: Any = responses.Fleets
    original = response_class.create_fleet

    def create_fleet(self: Any) -> ActionResult:  # noqa: ANN401  as above
        answer: Any = original(self)
        if not answer.result["Instances"]:
            fleet = self.ec2_backend.fleets[answer.result["FleetId"]]
            answer.result["Errors"] = [_no_capacity(launch_spec) for launch_spec in fleet.launch_specs]
        return cast("ActionResult", answer)

    fleet_class.get_launch_spec_counts = counts
    response_class.create_fleet = create_fleet


def _no_capacity(launch_spec: Any) -> dict[str, object]:  # noqa: ANN401  moto's, without types
    return {
        "ErrorCode": "InsufficientInstanceCapacity",
        "ErrorMessage": f"We currently do not have sufficient {launch_spec.instance_type} capacity",
        "LaunchTemplateAndOverrides": {
            "LaunchTemplateSpecification": launch_spec.launch_template_spec,
            "Overrides": launch_spec.overrides,
        },
    }


def _keep_security_groups(group: str) -> None:
    from moto.ec2.models import instances

    instance_class: Any = instances.Instance

    def read(instance: Any) -> list[object]:  # noqa: ANN401  moto's, without types
        kept: list[object] = instance.__dict__.get("_groups", [])
        return kept or [instance.ec2_backend.get_security_group_from_id(group)]

    instance_class.security_groups = property(
        read, lambda self, value: self.__dict__.__setitem__("_groups", value)
    )


def _tell_spot_prices(settings: Settings) -> None:
    from moto.core.responses import ActionResult
    from moto.ec2.responses import spot_instances

    response_class: Any = spot_instances.SpotInstances

    def history(_: object) -> ActionResult:
        known = [
            {
                "InstanceType": name,
                "ProductDescription": "Linux/UNIX (Amazon VPC)",
                "SpotPrice": str(prices["spot"]),
                "AvailabilityZone": f"{settings.region}a",
                "Timestamp": dt.datetime.now(tz=dt.UTC),
            }
            for name, prices in settings.prices.items()
            if "spot" in prices
        ]
        return ActionResult({"SpotPriceHistory": known})

    response_class.describe_spot_price_history = history


if __name__ == "__main__":
    main()
