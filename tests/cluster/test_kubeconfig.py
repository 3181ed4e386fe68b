"""Which cluster and which user come out of kubeconfigs."""

import json
import os
import sys

import pytest
import yaml

from gpuslice.cluster.kubeconfig import load
from gpuslice.errors import InputError


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


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_credential_plugin_is_run_with_its_version(write, tmp_path, version):
    import httpx2 as httpx
    from lightkube.config.client_adapter import user_auth

    script = tmp_path / "get-token"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "print(json.dumps({'status': {'token': info['apiVersion'] + '/' + os.environ['AWS_PROFILE']}}))\n"
    )
    script.chmod(0o755)
    plugin = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "command": "./get-token",
        "env": [{"name": "AWS_PROFILE", "value": "prod"}],
    }
    found = load(write("config", config("one", user={"exec": plugin})))
    seen = []

    def answer(request):
        seen.append(request.headers["Authorization"])
        return httpx.Response(401 if len(seen) == 1 else 200)

    with httpx.Client(transport=httpx.MockTransport(answer), auth=user_auth(found.user)) as http:
        http.get("https://one/version")
        assert http.get("https://one/version").status_code == 200
    assert seen[0] == f"Bearer client.authentication.k8s.io/{version}/prod"


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
