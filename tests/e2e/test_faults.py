"""A plan applied to a real API server while something breaks, and what running it again makes of it."""

import json
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.rbac_v1 import PolicyRule, RoleRef, Subject
from lightkube.resources.admissionregistration_v1 import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding
from lightkube.types import PatchType

from gpuslice.cluster.client.api import connect
from gpuslice.cluster.client.kubeconfig import load
from gpuslice.cluster.seen.read import read
from gpuslice.errors import EnvironmentFailedError
from gpuslice.rehearsal.control_plane import STRANGER
from gpuslice.rehearsal.kinds import ClusterPolicy, EC2NodeClass
from tests.e2e.applying import QUICK, gpuslice, rendered, standing, two_pools
from tests.e2e.between import WRITES, Between

TRY_AGAIN_AT_ONCE = {"Retry-After": "0", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return rendered(two_pools(), tmp_path_factory.mktemp("plan"))


def refused(code):
    body = json.dumps({"kind": "Status", "code": code, "message": "in trouble"}).encode()
    return code, TRY_AGAIN_AT_ONCE, body


def reset():
    raise ConnectionResetError


FAULTS = {
    "429": lambda: refused(429),
    "500": lambda: refused(500),
    "503": lambda: refused(503),
    "reset": reset,
    "half an answer": lambda: (200, {"Content-Length": "1000"}, b'{"kind": "NodePool", "meta'),
}


def every_other(what):
    turns = iter(range(100_000))
    return lambda method, _path: what() if method in WRITES and next(turns) % 2 == 0 else None


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_at_every_write_is_lived_through(cluster, control_plane, directory, tmp_path, fault):
    before = standing(cluster)
    between = Between(control_plane.kubeconfig)
    between.answer = every_other(fault)
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
        assert code == 0, err
        after = standing(cluster)
        code, _, err = gpuslice(between.config(tmp_path), "apply", "--rollback", "--yes")
        assert code == 0, err
    assert standing(cluster) == before
    assert gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
    assert standing(cluster) == after


def test_every_answer_cut_in_half_after_the_write_is_lived_through(
    cluster, control_plane, directory, tmp_path
):
    before = standing(cluster)
    between = Between(control_plane.kubeconfig)
    between.cut = every_other(lambda: True)
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
        assert code == 0, err
        code, _, err = gpuslice(between.config(tmp_path), "apply", "--rollback", "--yes")
        assert code == 0, err
    assert standing(cluster) == before


def test_an_api_server_that_goes_away_ends_it_with_words_and_running_again_finishes(
    cluster, control_plane, directory, tmp_path
):
    assert gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
    goal = standing(cluster)
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    between = Between(control_plane.kubeconfig)

    def gone(_method, path):
        if len(between.writes) > 4 and "/nodeoverlays" in path:
            raise ConnectionResetError

    between.answer = gone
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
    assert code == 3
    assert "no answer from the API server" in err
    assert "(tried 6 times)" in err
    assert len(err.strip().splitlines()[-2:]) == 2
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert standing(cluster) == goal


def test_a_hang_is_no_wait_for_ever(cluster, control_plane, tmp_path):
    between = Between(control_plane.kubeconfig)
    over = threading.Event()

    def hang(_method, path):
        if path.startswith("/version"):
            over.wait(30)

    between.answer = hang
    with between.running():
        config = load(str(between.config(tmp_path)))
        try:
            with (
                connect(config, read_seconds=0.1) as api,
                pytest.raises(EnvironmentFailedError, match=r"timed out \(tried 6 times\)"),
            ):
                read(api)
        finally:
            over.set()


def test_what_a_policy_refuses_is_known_before_the_first_write(cluster, control_plane, directory):
    before = standing(cluster)
    with refusing(cluster):
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 3
    assert "NodePool chat-l4-704" in err
    assert "pools are made by the platform team" in err
    assert "ask those who run the webhook or policy" in err
    assert standing(cluster) == before


def test_a_missing_permission_is_known_before_the_first_write(cluster, control_plane, directory):
    before = standing(cluster)
    rules = [
        PolicyRule(apiGroups=["*"], resources=["*"], verbs=["get", "list"]),
        PolicyRule(
            apiGroups=["", "karpenter.k8s.aws", "nvidia.com", "nfd.k8s-sigs.io"], resources=["*"], verbs=["*"]
        ),
        PolicyRule(apiGroups=["karpenter.sh"], resources=["nodeoverlays"], verbs=["*"]),
    ]
    with allowed(cluster, control_plane, rules):
        code, _, err = gpuslice(control_plane.stranger_kubeconfig, "apply", "-f", directory, *QUICK)
        assert code == 3
        assert 'cannot patch resource "nodepools"' in err
        assert "ask for the permission to do that" in err
        assert standing(cluster) == before


def test_a_namespace_that_is_going_away_is_told(cluster, control_plane, directory):
    gone(cluster, "gpuslice")
    cluster.create(Namespace(metadata=ObjectMeta(name="gpuslice")))
    held = ObjectMeta(name="held", namespace="gpuslice", finalizers=["example.com/hold"])
    cluster.create(ConfigMap(metadata=held))
    before = standing(cluster)
    cluster.delete(Namespace, "gpuslice")
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 3
    assert "because it is being terminated" in err
    assert "wait until the namespace is gone, make it anew, and run this again" in err
    assert standing(cluster) == before
    release(cluster, ConfigMap, "held", "gpuslice")
    gone(cluster, "gpuslice")
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err


def test_an_expired_token_is_asked_for_anew(cluster, control_plane, directory, tmp_path):
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    token = config["users"][0]["user"]["token"]
    plugin = tmp_path / "get-token"
    plugin.write_text(
        f"#!{sys.executable}\nimport json, pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "count.open('a').write('x')\n"
        "print(json.dumps({'status': {'token': %r}}))\n" % token
    )
    plugin.chmod(0o755)
    config["users"][0]["user"] = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    between = Between(tmp_path / "kubeconfig")
    requests = iter(range(100_000))
    between.answer = lambda _method, _path: refused(401) if next(requests) == 50 else None
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert (tmp_path / "count").read_text() == "xx"


def test_an_object_that_is_still_being_deleted_is_made_anew_once_it_is_gone(
    cluster, control_plane, directory
):
    assert gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
    goal = standing(cluster)
    cluster.patch(
        EC2NodeClass,
        "gpuslice-al2023",
        {"metadata": {"finalizers": ["karpenter.k8s.aws/termination"]}},
        patch_type=PatchType.MERGE,
    )
    cluster.delete(EC2NodeClass, "gpuslice-al2023")
    arguments = ("apply", "-f", directory, *QUICK, "--timeout", "1s")
    code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
    assert code == 1
    assert "note: EC2NodeClass gpuslice-al2023 is being deleted: it is made anew once it is gone" in err
    assert "is still being deleted after 1 s, held by karpenter.k8s.aws/termination" in err
    release(cluster, EC2NodeClass, "gpuslice-al2023")
    code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
    assert code == 0, err
    assert standing(cluster) == goal


def test_a_policy_whose_status_changes_all_the_time_is_changed_all_the_same(
    cluster, control_plane, directory, tmp_path
):
    between = Between(control_plane.kubeconfig)
    touched: list[str] = []

    def touch(method, path):
        if method == "PATCH" and "/clusterpolicies/" in path and len(touched) < 3:
            touched.append(path)
            annotations = {"touched": str(len(touched))}
            cluster.patch(
                ClusterPolicy,
                "cluster-policy",
                {"metadata": {"annotations": annotations}},
                patch_type=PatchType.MERGE,
            )

    between.answer = touch
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert len(touched) == 3
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    (live,) = cluster.list(ClusterPolicy)
    assert live.metadata.annotations == {"touched": "3"}


def until(done, seconds=30):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def refusing(client):
    """A policy against NodePools; the API server minds it once it refuses the canary."""
    rules = [
        NamedRuleWithOperations(
            apiGroups=[group], apiVersions=["*"], operations=["CREATE", "UPDATE"], resources=[plural]
        )
        for group, plural in (("karpenter.sh", "nodepools"), ("", "configmaps"))
    ]
    policy = ValidatingAdmissionPolicySpec(
        failurePolicy="Fail",
        matchConstraints=MatchResources(resourceRules=rules),
        validations=[
            Validation(
                expression="object.kind == 'ConfigMap' && object.metadata.name != 'canary'",
                message="pools are made by the platform team",
            )
        ],
    )
    binding = ValidatingAdmissionPolicyBindingSpec(policyName="no-pools", validationActions=["Deny"])
    metadata = ObjectMeta(name="no-pools")
    canary = ConfigMap(metadata=ObjectMeta(name="canary", namespace="default"))
    client.create(ValidatingAdmissionPolicy(metadata=metadata, spec=policy))
    client.create(ValidatingAdmissionPolicyBinding(metadata=metadata, spec=binding))
    try:
        until(lambda: not possible(lambda: client.create(canary, dry_run=True)))
        yield
    finally:
        client.delete(ValidatingAdmissionPolicyBinding, "no-pools")
        client.delete(ValidatingAdmissionPolicy, "no-pools")
        until(lambda: possible(lambda: client.create(canary, dry_run=True)))


@contextmanager
def allowed(client, control_plane, rules):
    """A stranger with these rights; the API server knows of them once he can list ConfigMaps."""
    name = "of-a-stranger"
    metadata = ObjectMeta(name=name)
    client.create(ClusterRole(metadata=metadata, rules=rules))
    role = RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name=name)
    subject = Subject(apiGroup="rbac.authorization.k8s.io", kind="User", name=STRANGER)
    client.create(ClusterRoleBinding(metadata=metadata, roleRef=role, subjects=[subject]))
    try:
        with Client(config=KubeConfig.from_file(control_plane.stranger_kubeconfig)) as stranger:
            until(lambda: possible(lambda: list(stranger.list(ConfigMap, namespace="default"))))
        yield
    finally:
        client.delete(ClusterRoleBinding, name)
        client.delete(ClusterRole, name)


def possible(request):
    try:
        request()
    except ApiError as error:
        if error.status.code not in {403, 422}:
            raise
        return False
    return True


def gone(client, namespace):
    """Delete a namespace, and wait until it is no more."""

    def absent():
        try:
            client.get(Namespace, namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise
            return True
        return False

    if not absent():
        client.delete(Namespace, namespace)
    until(absent)


def release(client, kind, name, namespace=None):
    """Take away what holds an object that is being deleted."""
    client.patch(
        kind, name, {"metadata": {"finalizers": None}}, namespace=namespace, patch_type=PatchType.MERGE
    )
