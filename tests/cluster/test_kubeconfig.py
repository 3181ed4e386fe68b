"""Which cluster and which user come out of kubeconfigs."""

import json
import os
import sys

import httpx2 as httpx
import pytest
import yaml

from gpuslice.cluster.client import kubeconfig
from gpuslice.cluster.client.api import Api, ApiError, connect
from gpuslice.cluster.client.credentials import PluginAuth
from gpuslice.cluster.client.kubeconfig import load
from gpuslice.errors import EnvironmentFailedError, InputError


def config(name, *, user=None, current=True, server="https://one:6443", **cluster):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        **({"current-context": name} if current else {}),
        "clusters": [{"name": name, "cluster": {"server": server, **cluster}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "shop"}}],
        "users": [{"name": name, "user": user or {"token": f"token-of-{name}"}}],
    }


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def write(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data))
        return str(path)

    return write


def test_the_current_context_is_taken(write):
    found = load(write("config", config("one")))
    assert (found.context_name, found.namespace, found.cluster.server) == ("one", "shop", "https://one:6443")


def test_files_in_the_environment_are_merged_and_the_first_wins(write, monkeypatch, tmp_path):
    first = write("first", config("one"))
    second = write(
        "second", config("two") | {"users": config("two")["users"] + config("one", user={})["users"]}
    )
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join((first, str(tmp_path / "absent"), second)))
    assert load().context_name == "one"
    assert "token-of-two" in str(load(context="two").user)
    assert "token-of-one" in str(load(context="one").user)


def test_the_usual_file_is_found(write):
    write("home/.kube/config", config("one"))
    assert load().context_name == "one"


def test_paths_are_relative_to_their_file(write, tmp_path):
    path = write("deep/config", config("one", **{"certificate-authority": "ca.crt"}))
    assert load(path).cluster.certificate_auth == str(tmp_path / "deep" / "ca.crt")


@pytest.fixture
def plugin(write, tmp_path):
    """A connection by a credential plug-in with this body, and the requests that came."""

    def connected(body, answer, version="v1"):
        script = tmp_path / "get-token"
        script.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}")
        script.chmod(0o755)
        entry = {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "command": "./get-token",
            "env": [{"name": "AWS_PROFILE", "value": "prod"}],
        }
        found = load(write("config", config("one", user={"exec": entry})))
        seen = []

        def note(request):
            seen.append(request.headers["Authorization"])
            return answer(len(seen))

        http = httpx.Client(
            base_url="https://one",
            transport=httpx.MockTransport(note),
            auth=PluginAuth(plugin_of(found), seconds=5),
        )
        return Api(http, name="one", pause=lambda _seconds: None), seen

    return connected


def plugin_of(found):
    assert found.user is not None
    assert found.user.exec is not None
    return found.user.exec


COUNTED = """
count = int(open("count").read()) if os.path.exists("count") else 0
open("count", "w").write(str(count + 1))
"""
TOKEN = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
print(json.dumps({"status": {"token": f"{info['apiVersion']}/{os.environ['AWS_PROFILE']}/%s"}}))
"""


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_credential_plugin_is_run_with_its_version(plugin, version):
    api, seen = plugin(TOKEN % 1, lambda _count: httpx.Response(200), version)
    api.request("GET", "/version")
    assert seen == [f"Bearer client.authentication.k8s.io/{version}/prod/1"]


def test_a_token_that_expired_is_asked_for_again_once(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = COUNTED + 'print(json.dumps({"status": {"token": str(count)}}))'
    api, seen = plugin(body, lambda count: httpx.Response(401 if count == 2 else 200))
    for _ in range(3):
        api.request("GET", "/version")
    assert seen == ["Bearer 0", "Bearer 0", "Bearer 1", "Bearer 1"]


def test_a_token_that_is_refused_anew_ends_it_with_words(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = COUNTED + 'print(json.dumps({"status": {"token": str(count)}}))'
    api, seen = plugin(body, lambda count: httpx.Response(200 if count == 1 else 401))
    api.request("GET", "/version")
    with pytest.raises(ApiError, match="the credentials are refused"):
        api.request("GET", "/version")
    assert seen == ["Bearer 0", "Bearer 0", "Bearer 1"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "sys.exit('Token has expired and refresh failed')",
            "ended with 1: Token has expired and refresh failed",
        ),
        ("print('{}')", "printed no token"),
        ("print('hello')", "printed no token"),
        ("print(json.dumps({'status': {'token': None}}))", "printed no token"),
    ],
)
def test_a_credential_plugin_that_fails_is_told_in_its_own_words(plugin, body, said):
    api, seen = plugin(body, lambda _count: httpx.Response(200))
    with pytest.raises(EnvironmentFailedError, match=said) as error:
        api.request("GET", "/version")
    assert len(str(error.value).splitlines()) == 2
    assert seen == []


def test_a_credential_plugin_that_hangs_is_ended(write):
    entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["60"]}
    found = load(write("config", config("one", user={"exec": entry})))
    auth = PluginAuth(plugin_of(found), seconds=0.05)
    with httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200)), auth=auth) as http:
        api = Api(http, name="one")
        with pytest.raises(EnvironmentFailedError, match="no credentials: sleep gave no token in 0 s"):
            api.request("GET", "https://one/version")


def test_a_connection_runs_the_plugin_with_patience(write):
    entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": "absent-get-token"}
    found = load(write("config", config("one", user={"exec": entry})))
    with (
        connect(found) as api,
        pytest.raises(EnvironmentFailedError, match="absent-get-token can't be run: No such file"),
    ):
        api.request("GET", "/version")


def test_in_a_pod_its_service_account_is_taken(write, tmp_path, monkeypatch):
    for name, text in (("token", "of-the-pod"), ("ca.crt", "PEM"), ("namespace", "tools")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = load()
    assert found.cluster.server == "https://10.0.0.1:443"
    assert found.cluster.certificate_auth == str(tmp_path / "ca.crt")
    assert found.namespace == "tools"
    assert "of-the-pod" in str(found.user)
    write("home/.kube/config", config("one"))
    assert load().context_name == "one"


def test_no_kubeconfig_says_how_to_get_one(write):
    with pytest.raises(InputError, match="there is no kubeconfig") as error:
        load()
    assert "aws eks update-kubeconfig" in error.value.fix


def test_an_unknown_context_is_answered_with_the_nearest(write):
    with pytest.raises(InputError, match="no context 'prof'") as error:
        load(write("config", config("prod")), context="prof")
    assert "'prod'" in error.value.fix


@pytest.mark.parametrize("text", ["[", "a: 1", json.dumps({"contexts": "x"}), "\x00"])
def test_what_is_no_kubeconfig_is_refused(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InputError, match="is no"):
        load(str(path))


def test_a_context_of_a_missing_cluster_is_refused(write):
    data = config("one")
    data["clusters"] = []
    with pytest.raises(InputError, match="can't be used"):
        load(write("config", data))
