"""EC2's own answers, as moto carries them: read once, because moto takes seconds to write them out."""

import boto3
import pytest
from moto import mock_aws

REGIONS = ("us-east-1", "eu-west-1")


@pytest.fixture(scope="session")
def ec2_answers():
    """By region and operation, the pages. Types are those that could have NVIDIA GPUs (g and p), and some others."""
    families = {"Name": "instance-type", "Values": ["g*", "p*", "m5.*", "t1.*"]}
    answers = {}
    with mock_aws():
        for region in REGIONS:
            client = boto3.client(
                "ec2", region_name=region, aws_access_key_id="none", aws_secret_access_key="none"
            )
            offerings = client.get_paginator("describe_instance_type_offerings").paginate()
            answers[region] = {"describe_instance_type_offerings": list(offerings)}
        # moto has one list of types for all regions.
        types = list(client.get_paginator("describe_instance_types").paginate(Filters=[families]))
    return {region: pages | {"describe_instance_types": types} for region, pages in answers.items()}
