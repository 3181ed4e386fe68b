"""A repository as people have it: what can be read is read, and the rest is named."""

from pathlib import Path

import pytest

from gpuslice.errors import InputError
from gpuslice.workloads import relevance
from gpuslice.workloads.manifests import from_manifests, read_manifests
from gpuslice.workloads.relevance import pieces
from gpuslice.workloads.repeats import suffixes

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: a}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: app, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {nvidia.com/gpu: 1}}}
"""
PATCH = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: a}\nspec: {replicas: 9}\n"
TEMPLATE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n"
CHART = "apiVersion: v2\nname: captions\nversion: 0.1.0\n"


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Writes files below a directory of its own, which is the current one, and gives its name."""

    def write(**files: str) -> str:
        for name, text in files.items():
            path = tmp_path / "repo" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.chdir(tmp_path)
        return "repo"

    return write


def counts(path: str) -> list[tuple[str, int]]:
    return [(each.name, each.replicas) for each in from_manifests([path]).workloads]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEMPLATE, "repo/b.yaml:4:10: a key is no plain text"),
        ("nav:\n- emoji: !!python/name:material.emoji\n", "tag '!!python/name:material.emoji' is not known"),
        ("Resources:\n  Bucket: !Ref Name\n", "tag '!Ref' is not known"),
        (WEB.replace("replicas: 3", "replicas: '{{ .Values.n }}'"), "replicas is '{{ .Values.n }}'"),
        (WEB.replace("limits: {nvidia.com/gpu: 1}", "limits: {nvidia.com/gpu: 500m}"), "is no whole number"),
        (WEB + "gpu: [\n", "is not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_read(repo, text, says):
    path = repo(a_dot_yaml=WEB.replace("name: web", "name: good"), b_dot_yaml=text)
    found = from_manifests([path])
    assert [each.name for each in found.workloads] == ["a/good"]
    assert any(says in note for note in found.notes)
    with pytest.raises(InputError):
        from_manifests([path], strict=True)


@pytest.mark.parametrize("text", ["# nothing\n", "---\n# nothing\n---\n", "\n\n", "{}\n", "--- # end\n"])
def test_a_file_that_says_nothing_is_skipped(repo, text):
    found = from_manifests([repo(a_dot_yaml=WEB, b_dot_yaml=text)])
    assert ([each.name for each in found.workloads], found.notes) == (["a/web"], ())


def test_all_that_cannot_be_read_is_told_at_once(repo):
    files = {f"bad{n}_dot_yaml": TEMPLATE + f"# gpu {n}\n" for n in range(20)}
    (note,) = from_manifests([repo(a_dot_yaml=WEB, **files)]).notes
    assert all(f"bad{n}.yaml:4:10" in note for n in range(20))


def test_where_nothing_can_be_read_the_input_is_refused(repo):
    with pytest.raises(InputError, match=r"no plain text; and neither can repo/c.yaml:4:10 be read"):
        from_manifests([repo(b_dot_yaml=TEMPLATE + "# gpu\n", c_dot_yaml=TEMPLATE + "# gpu\n")])


def test_values_that_ask_for_a_gpu_are_named(repo):
    values = "worker:\n  resources: {limits: {nvidia.com/gpu: 1}}\n"
    found = from_manifests([repo(a_dot_yaml=WEB, values_dot_yaml=values, other_dot_yaml="image: x\n")])
    (note,) = found.notes
    assert note.startswith("repo/values.yaml asks for a GPU and is no manifest")
    assert "helm template" in note


# --- charts and overlays -----------------------------------------------------------------------------------------


def test_a_chart_is_named_with_the_command_that_renders_it(repo):
    path = repo(
        a_dot_yaml=WEB,
        chart__Chart_dot_yaml=CHART,
        chart__values_dot_yaml="resources: {limits: {nvidia.com/gpu: 1}}\n",
        chart__templates__d_dot_yaml=TEMPLATE,
    )
    (note,) = from_manifests([path]).notes
    assert (
        "repo/chart is a Helm chart, which has to be built: helm template repo/chart | gpuslice scan --from -"
        in note
    )


def test_a_chart_alone_is_refused_with_its_command(repo):
    path = repo(Chart_dot_yaml=CHART, values_dot_yaml="gpu: 1\n", templates__d_dot_yaml=TEMPLATE)
    with pytest.raises(InputError, match="repo: is a Helm chart, which has to be built") as refused:
        from_manifests([path])
    assert "helm template repo | gpuslice scan --from -" in str(refused.value)


@pytest.mark.parametrize("values", ["image: x\n", "# gpu: 1\nimage: x\n"])
def test_a_chart_without_a_gpu_is_not_worth_a_word(repo, values):
    path = repo(
        a_dot_yaml=WEB, c__Chart_dot_yaml=CHART, c__values_dot_yaml=values, c__templates__t_dot_yaml=TEMPLATE
    )
    assert from_manifests([path]).notes == ()


@pytest.fixture
def overlays(repo):
    return repo(
        base__kustomization_dot_yaml="resources: [web.yaml]\n",
        base__web_dot_yaml=WEB,
        prod__kustomization_dot_yaml="resources: [../base]\npatches: [{path: replicas.yaml}]\n",
        prod__replicas_dot_yaml=PATCH,
        dev__kustomization_dot_yaml="resources: [../base]\nnamePrefix: dev-\n",
    )


def test_overlays_are_named_and_their_patches_are_no_objects(overlays):
    found = from_manifests([overlays])
    assert [(each.name, each.replicas) for each in found.workloads] == [("a/web", 3)]
    (note,) = found.notes
    assert (
        "repo/dev is a Kustomize overlay, which has to be built: kubectl kustomize repo/dev | gpuslice scan"
        in note
    )
    assert note.endswith("so have 1 more: repo/prod")


def test_an_overlay_alone_is_refused_with_its_command(overlays):
    with pytest.raises(InputError, match="is a Kustomize overlay") as refused:
        from_manifests([f"{overlays}/prod"])
    assert "kubectl kustomize repo/prod | gpuslice scan --from -" in str(refused.value)


def test_files_that_a_kustomization_only_lists_are_read_without_a_word(repo):
    path = repo(kustomization_dot_yaml="resources: [web.yaml]\n", web_dot_yaml=WEB)
    assert from_manifests([path]).notes == ()


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Puts programs of the test's own on the path, and nothing else."""

    def put(**programs: str) -> None:
        for name, body in programs.items():
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        (tmp_path / "bin").mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin" if programs else str(tmp_path / "bin"))

    return put


def test_built_overlays_stand_for_their_files(overlays, tools, tmp_path):
    built = tmp_path / "built.yaml"
    built.write_text(WEB.replace("replicas: 3", "replicas: 9"))
    tools(kubectl=f'test "$1" = kustomize && cat {built}')
    found = from_manifests([overlays], build=True)
    assert [(each.name, each.replicas) for each in found.workloads] == [("a/web-dev", 9), ("a/web-prod", 9)]
    assert all(each.target.name == "web" for each in found.workloads)
    assert "told apart by directory" in found.notes[0]


def test_a_build_that_fails_is_told_and_the_files_are_read(overlays, tools):
    tools(kubectl="echo 'no such base' >&2; exit 1")
    found = from_manifests([overlays], build=True)
    assert counts(overlays) == [("a/web", 3)]
    assert any("kubectl kustomize refuses: no such base" in note for note in found.notes)


def test_without_a_tool_that_is_said(overlays, tools):
    tools()
    assert any(
        "there is no kubectl or kustomize here" in note
        for note in from_manifests([overlays], build=True).notes
    )


# --- objects given several times ---------------------------------------------------------------------------------


def test_one_object_in_several_directories_is_told_apart_by_them(repo):
    path = repo(
        clusters__dev__web_dot_yaml=WEB,
        clusters__prod__web_dot_yaml=WEB.replace("replicas: 3", "replicas: 8"),
    )
    assert counts(path) == [("a/web-dev", 3), ("a/web-prod", 8)]


def test_a_duplicate_without_a_gpu_is_none(repo):
    assert counts(repo(a_dot_yaml=WEB, b_dot_yaml=PATCH)) == [("a/web", 3)]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("c/dev/web.yaml", "c/prod/web.yaml"), ("dev", "prod")),
        (("x/one.yaml", "x/two.yaml"), ("one", "two")),
        (("r/a/x.yaml", "r/a/y.yaml", "r/b/x.yaml"), ("a-x", "a-y", "b-x")),
        (("a.yaml", "a.yml"), ("1", "1-2")),
    ],
)
def test_files_are_told_apart_by_what_differs_in_their_paths(files, names):
    assert tuple(suffixes(files).values()) == names


# --- what is passed over -----------------------------------------------------------------------------------------

QUIET = WEB.replace("limits: {nvidia.com/gpu: 1}", "limits: {}").replace("name: web", "name: quiet")


def test_documents_without_a_gpus_name_are_not_parsed_but_counted(repo):
    broken = QUIET.replace("replicas: 3", "replicas: [")  # which nobody notices, since nobody looks
    found = from_manifests([repo(a_dot_yaml=f"{WEB}---\n{QUIET}---\n{broken}")])
    assert found.notes == ("2 other objects with pods, without a GPU: left out",)


def test_an_owner_is_parsed_though_it_names_no_gpu(repo):
    owner = "apiVersion: example.com/v1\nkind: Server\nmetadata: {name: s, namespace: a}\n"
    child = WEB.replace(
        "namespace: a", "namespace: a, ownerReferences: [{kind: Server, name: s, controller: true}]"
    )
    path = repo(a_dot_yaml=child, b_dot_yaml=owner)
    assert counts(path) == [("a/web", 3)]
    Path("repo/b.yaml").unlink()
    assert counts(path) == [("a/s", 3)]


def test_messages_count_the_lines_of_the_whole_file(repo):
    path = repo(a_dot_yaml=f"{WEB}---\n{QUIET}---\n" + WEB.replace("replicas: 3", "replicas: {{ n }}"))
    (note,) = [each for each in from_manifests([path]).notes if each.startswith("not read")]
    assert f"repo/a.yaml:{2 * (WEB.count(chr(10)) + 1) + 5}:14" in note


@pytest.mark.parametrize("kind", ["kind: List\n", ""])
def test_a_long_list_is_taken_item_by_item(repo, monkeypatch, kind):
    monkeypatch.setattr(relevance, "_LONG_LIST", 0)
    items = "".join(
        "- " + text.replace("\n", "\n  ").rstrip(" ") for text in (WEB, QUIET, WEB.replace("web", "api"))
    )
    text = f"apiVersion: v1\n{kind}items:\n{items}" + ("" if kind else "kind: List\n") + "metadata: {}\n"
    assert [each.kind for each in pieces(text.encode())] == ["Deployment"] * 3
    assert counts(repo(a_dot_yaml=text)) == [("a/api", 3), ("a/web", 3)]


def test_items_of_a_long_typed_list_need_no_kind(repo, monkeypatch):
    monkeypatch.setattr(relevance, "_LONG_LIST", 0)
    item = "- " + WEB.partition("kind: Deployment\n")[2].replace("\n", "\n  ").rstrip(" ")
    assert counts(repo(a_dot_yaml=f"apiVersion: apps/v1\nkind: DeploymentList\nitems:\n{item}")) == [
        ("a/web", 3)
    ]


def test_aliases_keep_a_long_list_together(monkeypatch):
    monkeypatch.setattr(relevance, "_LONG_LIST", 0)
    text = b"apiVersion: v1\nkind: List\nitems:\n- &a\n  kind: Pod\n- *a\n"
    assert len(list(pieces(text))) == 1


def test_progress_is_told_in_bytes(repo):
    told: list[tuple[int, int]] = []
    read_manifests(
        [repo(a_dot_yaml=WEB, b_dot_yaml=QUIET)], progress=lambda done, of: told.append((done, of))
    )
    assert told == [(len(WEB), len(WEB + QUIET)), (len(WEB + QUIET), len(WEB + QUIET))]
