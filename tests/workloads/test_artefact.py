"""workloads.yaml: what it means, what is refused, and that what is written reads back equal."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU, Need, Source
from gpuslice.workloads.artefact import (
    WorkloadSet,
    default_slowdown,
    limitable,
    parse_workloads,
    read_workloads,
)
from gpuslice.workloads.dump import dump, to_artefact
from gpuslice.workloads.entries import schema
from gpuslice.workloads.model import MOST_REPLICAS, Service, ServiceProfile, Workload
from gpuslice.workloads.target import Framework, Target

HEAD = "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n"

EXAMPLE = (
    HEAD
    + """
- name: search/embedder
  target: {kind: Deployment, container: main}
  replicas: {now: 12, peak: 20}
  tenant: search
  isolation: none
  pod: {cpu: 1500m, memory: 4Gi}
  need:
    gpus: 1
    memory: 5200Mi
    duty: 0.18
    on: A10G
    source: measured
  gpu: {allow: [A10G, L4], minComputeCapability: "8.0", features: [bf16]}
  maxSlowdown: 3
  interruptible: true
- name: search/ranker
  service:
    demand: {rate: 829, unit: requests/s}
    slo: {latencyMs: 204}
    profiles:
    - {slice: A100-80GB/mig/1g.10gb, batch: 8, processes: 2, rate: 310, latencyMs: 71}
"""
)


def parsed(text: str, **options) -> WorkloadSet:
    return parse_workloads(parse_documents(text.encode(), "w.yaml"), **options)


def one(fields: str, **options) -> Workload:
    """The workload of an entry with these further fields, in YAML's flow style."""
    (workload,) = parsed(f"{HEAD}- {{name: a/b, {fields}}}\n", **options).workloads
    return workload


def refusal(entries: str) -> str:
    with pytest.raises(InputError) as caught:
        parsed(HEAD + entries)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def test_an_entry_means_what_the_reference_says():
    embedder, ranker = parsed(EXAMPLE).workloads
    assert embedder == Workload(
        name="search/embedder",
        replicas=12,
        cpu_milli=1500,
        memory_mib=4096,
        need=Need(
            memory_mib=5200,
            duty_ppm=180_000,
            on="A10G",
            source=Source.MEASURED,
            allow=frozenset({"A10G", "L4"}),
            min_compute_capability=(8, 0),
            features=frozenset({Feature.BF16}),
            max_slowdown_milli=3000,
        ),
        target=Target(container="main"),
        tenant="search",
        interruptible=True,
        most_replicas=20,
    )
    assert ranker.service == Service(
        829, "requests/s", 204, (ServiceProfile("A100-80GB/mig/1g.10gb", 8, 2, 310, 71),)
    )


def test_replicas_may_be_those_of_the_peak():
    assert parsed(EXAMPLE, at="peak").workloads[0].replicas == 20


def test_what_is_left_out_has_its_default():
    workload = one("replicas: 0")
    assert workload == Workload(
        name="a/b",
        replicas=0,
        cpu_milli=0,
        memory_mib=0,
        need=Need(max_slowdown_milli=2000),
        tenant="a",
        slowdown_defaulted=True,
    )
    assert not workload.need.known


@pytest.mark.parametrize(
    ("fields", "limit", "defaulted"),
    [
        ("target: {kind: Deployment}", 2000, True),
        ("target: {kind: Pod}", 2000, True),
        ("target: {kind: Job}", None, False),
        ("target: {kind: PyTorchJob}", None, False),
        ("target: {kind: Job}, maxSlowdown: 4", 4000, False),
        ("maxSlowdown: none", None, False),
        ("maxSlowdown: 1.25", 1250, False),
        ("maxSlowdown: 1", 1000, False),
    ],
)
def test_services_are_limited_unless_told_otherwise_and_jobs_are_not(fields, limit, defaulted):
    workload = one(f"replicas: 1, {fields}")
    assert (workload.need.max_slowdown_milli, workload.slowdown_defaulted) == (limit, defaulted)


def test_an_assumed_need_counts_only_if_that_is_asked_for():
    fields = "replicas: 1, need: {memory: 2Gi, duty: 0.1, on: T4, source: assumed}"
    ignored, accepted = one(fields), one(fields, accept_assumed=True)
    assert (ignored.need.memory_mib, ignored.need.duty_ppm, ignored.need.known) == (None, None, False)
    assert ignored.need.on == "T4"
    assert "only assumed" in ignored.notes[0]
    assert (accepted.need.memory_mib, accepted.need.duty_ppm, accepted.need.known) == (2048, 100_000, True)
    assert not accepted.notes


@pytest.mark.parametrize(
    ("fields", "limited"),
    [
        ("preallocates: false", True),
        ("preallocates: true", False),
        ("preallocates: true, target: {framework: {name: vllm, limit: argument}}", True),
        ("preallocates: true, target: {framework: {name: triton, limit: none}}", False),
    ],
)
def test_a_preallocator_without_a_limit_of_its_own_is_known_as_such(fields, limited):
    assert one(f"replicas: 1, {fields}").need.limitable is limited


def test_gpus_go_by_the_names_of_plans():
    need = one("replicas: 1, need: {on: a10g}, gpu: {allow: [nvidia-l4, T4]}").need
    assert need.on == "A10G"
    assert need.allow == {"L4", "T4"}
    assert one("replicas: 1, gpu: {allow: [any]}").need.allow == {ANY_GPU}


def test_pods_with_several_gpus_may_ask_for_isolation_and_state_memory():
    need = one("replicas: 1, isolation: hardware, need: {gpus: 8, memory: 70Gi}").need
    assert (need.gpus, need.isolation, need.memory_mib) == (8, Isolation.HARDWARE, 71680)


@pytest.mark.parametrize(
    ("fields", "path", "found", "fix"),
    [
        ("replicas: 1000000000", "replicas", "found 1000000000", "from 0 to 1,000,000"),
        ("replicas: -1", "replicas", "found -1", "from 0 to 1,000,000"),
        ("replicas: 1.5", "replicas", "found 1.5", "a whole number"),
        ("replicas: yes", "replicas", "found 'yes'", "a whole number"),
        ("replicas: {now: 3, peak: 2}", "replicas", "the peak, 2, is below now, 3", "at least 3"),
        ("replicas: {now: 3}", "replicas", "has no peak", "add it: a whole number"),
        ("tenant: a", "", "has no replicas", "add replicas"),
        ("replica: 1", "replica", "unknown field", "did you mean 'replicas'?"),
        ("replicas: 1, need: {true: T4}", "need.true", "unknown field", "write on: "),
        ("replicas: 1, need: {memroy: 1Gi}", "need.memroy", "unknown field", "did you mean 'memory'?"),
        ("replicas: 1, need: {memory: 5200}", "need.memory", "'5200' has no unit", '"5200Mi"'),
        ("replicas: 1, need: {memory: -5Gi}", "need.memory", "'-5Gi' is not positive", "5200Mi"),
        ("replicas: 1, need: {memory: 0}", "need.memory", "'0' is not positive", "5200Mi"),
        ("replicas: 1, need: {memory: 5Gb}", "need.memory", "'5Gb' is not a quantity", "4Gi"),
        ("replicas: 1, pod: {memory: 5}", "pod.memory", "'5' has no unit", '"5Gi"'),
        ("replicas: 1, pod: {cpu: -1}", "pod.cpu", "'-1' is negative", "500m"),
        ("replicas: 1, pod: {cpu: .nan}", "pod.cpu", "found nan", "finite"),
        ("replicas: 1, pod: {arch: x86}", "pod.arch", "found 'x86'", "amd64, arm64"),
        ("replicas: 1, need: {duty: 18%}", "need.duty", "found '18%'", "0.18 for 18 %"),
        ("replicas: 1, need: {duty: 18}", "need.duty", "found 18", "0.18 for 18 %"),
        ("replicas: 1, need: {duty: 0}", "need.duty", "found 0", "above 0"),
        ("replicas: 1, need: {on: A10}", "need.on", "no GPU of EC2 is named 'A10'", "did you mean 'A10G'?"),
        ("replicas: 1, need: {source: guessed}", "need.source", "found 'guessed'", "declared"),
        ("replicas: 1, need: {gpus: 0}", "need.gpus", "found 0", "from 1"),
        ("replicas: 1, gpu: {allow: [L4, H1000]}", "gpu.allow[1]", "'H1000'", "did you mean 'H100'?"),
        ("replicas: 1, gpu: {allow: [any, L4]}", "gpu.allow", "any GPU and names some", "[any]"),
        ("replicas: 1, gpu: {allow: []}", "gpu.allow", "found an empty list", "[any]"),
        ("replicas: 1, gpu: {minComputeCapability: 8.0}", "gpu.minComputeCapability", "found 8.0", '"8.0"'),
        ('replicas: 1, gpu: {minComputeCapability: "8"}', "gpu.minComputeCapability", "found '8'", '"8.0"'),
        ("replicas: 1, gpu: {features: [fp16]}", "gpu.features[0]", "found 'fp16'", "bf16"),
        ("replicas: 1, maxSlowdown: 0.5", "maxSlowdown", "found 0.5", "from 1 to 1,000 or 'none'"),
        ("replicas: 1, maxSlowdown: never", "maxSlowdown", "found 'never'", "'none'"),
        ("replicas: 1, isolation: strong", "isolation", "found 'strong'", "none, memory, hardware"),
        ("replicas: 1, tenant: 'a b'", "tenant", "found 'a b'", "a label's value"),
        ("replicas: 1, interruptible: yes", "interruptible", "found 'yes'", "true or false"),
        ("replicas: 1, notes: x", "notes", "found 'x'", "a list"),
        ("replicas: 1, target: {kin: Job}", "target.kin", "unknown field", "did you mean 'kind'?"),
    ],
)
def test_an_error_names_file_path_value_and_fix(fields, path, found, fix):
    first, second = refusal(f"- {{name: a/b, {fields}}}").splitlines()
    assert first.startswith(f"w.yaml: workloads[0] (a/b){'.' if path else ''}{path}: ")
    assert found in first
    assert fix in second


@pytest.mark.parametrize(
    ("service", "path", "found"),
    [
        ("replicas: 3", "replicas", "stands beside a service"),
        ("service: {}", "service", "has no demand"),
    ],
)
def test_a_service_has_demand_and_no_replicas(service, path, found):
    profiles = "[{slice: L4/whole, rate: 1, latencyMs: 3}]"
    whole = f"service: {{demand: {{rate: 1, unit: r}}, slo: {{latencyMs: 5}}, profiles: {profiles}}}"
    text = f"- {{name: a/b, {service}}}" if "service" in service else f"- {{name: a/b, {service}, {whole}}}"
    message = refusal(text)
    assert f"(a/b).{path}: " in message
    assert found in message


@pytest.mark.parametrize(
    ("profiles", "problem"),
    [
        ("[]", "found an empty list"),
        ("[{slice: L4/mig/1g.10gb, rate: 1, latencyMs: 3}]", "L4 has no MIG profile '1g.10gb'"),
        ("[{slice: H100/mig/1g.5gb, rate: 1, latencyMs: 3}]", "it has 7g.80gb"),
        ("[{slice: L4/half, rate: 1, latencyMs: 3}]", "'half' is no way to cut a GPU"),
        ("[{slice: L4/whole/2, rate: 1, latencyMs: 3}]", "'L4/whole/2' is no slice"),
        ("[{slice: L4/time-slicing/1, rate: 1, latencyMs: 3}]", "is no slice"),
        ("[{slice: L4/time-slicing/49, rate: 1, latencyMs: 3}]", "at most 48 slots by time-slicing"),
        ("[{slice: L4/time-slicing/metered, rate: 1, latencyMs: 3}]", "is no slice of a fixed size"),
        ("[{slice: L4/fractional/1-8, rate: .nan, latencyMs: 3}]", "profiles[0].rate: found nan"),
        ("[{slice: L4/whole, rate: 1, latencyMs: .inf}]", "profiles[0].latencyMs: found inf"),
        ("[{slice: L4/whole, rate: 1, latencyMs: -3}]", "profiles[0].latencyMs: found -3"),
        ("[{slice: L4/whole, rate: 1, latencyMs: 3, processes: 0}]", "profiles[0].processes: found 0"),
        (
            "[{slice: L4/whole, rate: 1, latencyMs: 3}, {slice: L4/whole, rate: 2, latencyMs: 3}]",
            "profiles[1]: measures L4/whole, batch 1, processes 1, as profiles[0] does",
        ),
        ("[{slice: L4, rate: 1, latencyMs: 3}]", "'L4' is no slice"),
        ("[{slice: L5/whole, rate: 1, latencyMs: 3}]", "no GPU of EC2 is named 'L5'"),
        ("[{slice: L4/whole, rate: 0, latencyMs: 3}]", "profiles[0].rate: found 0"),
        ("[{slice: L4/whole, rate: 1}]", "has no latencyMs"),
    ],
)
def test_profiles_are_of_slices_that_exist(profiles, problem):
    service = f"service: {{demand: {{rate: 1, unit: r}}, slo: {{latencyMs: 5}}, profiles: {profiles}}}"
    assert problem in refusal(f"- {{name: a/b, {service}}}")


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ("demand: {rate: -1, unit: r}, slo: {latencyMs: 5}", "demand.rate: found -1"),
        ("demand: {rate: .nan, unit: r}, slo: {latencyMs: 5}", "demand.rate: found nan"),
        ("demand: {rate: 1, unit: r}, slo: {latencyMs: 0}", "slo.latencyMs: found 0"),
        ("demand: {rate: 1, unit: r}, slo: {latencyMs: 5, share: 45}", "slo.share: found 45"),
        ("demand: {rate: 1, unit: r}, slo: {latencyMs: 5, share: 0}", "slo.share: found 0"),
        ("demand: {rate: 1}, slo: {latencyMs: 5}", "demand: has no unit"),
    ],
)
def test_a_service_states_a_load_and_an_objective_that_can_be(service, problem):
    profiles = "profiles: [{slice: L4/whole, rate: 1, latencyMs: 3}]"
    assert problem in refusal(f"- {{name: a/b, service: {{{service}, {profiles}}}}}")


def test_a_service_may_wait_for_its_load_and_may_say_how_much_of_its_objective_a_batch_has():
    profiles = "profiles: [{slice: L4/whole, rate: 1, latencyMs: 3}]"
    slo = "slo: {latencyMs: 5, share: 0.8}"
    service = one(f"service: {{demand: {{rate: 0, unit: r}}, {slo}, {profiles}}}").service
    assert service == Service(0, "r", 5, (ServiceProfile("L4/whole", 1, 1, 1, 3),), share=0.8)


@pytest.mark.parametrize(
    "name",
    [
        "b",
        "a/",
        "/b",
        "A/b",
        "a/B",
        "a/b/c",
        "a_b/c",
        "a/b_c",
        "-a/b",
        "a/b-",
        f"{'a' * 64}/b",
        f"a/{'b' * 254}",
        "a/😀",
        "",
    ],
)
def test_names_are_those_of_kubernetes(name):
    message = refusal(f"- {{name: '{name}', replicas: 1}}")
    assert ".name: " in message


@pytest.mark.parametrize(
    "name", ["a/b", f"{'a' * 63}/{'b' * 253}", "0/1.example.com", "ml-team/llama-3.1-8b"]
)
def test_names_of_kubernetes_are_accepted(name):
    assert parsed(f"{HEAD}- {{name: {name}, replicas: 1}}").workloads[0].name == name


def test_duplicate_names_are_refused_with_both_places():
    message = refusal("- {name: a/b, replicas: 1}\n- {name: a/c, replicas: 1}\n- {name: a/b, replicas: 2}")
    assert message.startswith("w.yaml: workloads[2]: name 'a/b' is that of workloads[0] too")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("apiVersion: gpuslice.io/v1alpha1\nkind: Plan\n", "is of kind Plan; kind Workloads is wanted"),
        ("apiVersion: apps/v1\nkind: Deployment\n", "gpuslice scan --from"),
        ("apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nworkloads: []\n", "has no region"),
        (HEAD.replace("us-east-1", "Virginia") + "  []", "a region, such as us-east-1"),
        (f"{EXAMPLE}\n---\n{EXAMPLE}", "2 documents, where one is wanted"),
        ("- a\n- b\n", "is a list of 2; kind Workloads is wanted"),
    ],
)
def test_another_file_than_workloads_is_refused(text, problem):
    with pytest.raises(InputError) as caught:
        parsed(text)
    assert problem in str(caught.value)


def test_a_file_is_read_by_its_path(tmp_path: Path):
    path = tmp_path / "workloads.yaml"
    path.write_text(EXAMPLE)
    assert read_workloads(path) == parsed(EXAMPLE)
    path.write_text("")
    with pytest.raises(InputError, match="is empty"):
        read_workloads(path)


def test_what_is_written_is_in_the_order_that_people_read():
    workload = one(
        "replicas: 2, tenant: t, isolation: memory, pod: {cpu: 2, memory: 1Gi, arch: arm64}, preallocates: true, "
        "need: {memory: 1Gi, duty: 1, on: T4}, gpu: {allow: [T4]}, interruptible: true, notes: [x], maxSlowdown: 2"
    )
    assert dump(WorkloadSet("us-east-1", (workload,), ("all",))) == (
        "apiVersion: gpuslice.io/v1alpha1\n"
        "kind: Workloads\n"
        "region: us-east-1\n"
        "notes:\n"
        "- all\n"
        "workloads:\n"
        "- name: a/b\n"
        "  target:\n"
        "    kind: Deployment\n"
        "  replicas: 2\n"
        "  tenant: t\n"
        "  isolation: memory\n"
        "  pod:\n"
        "    cpu: '2'\n"
        "    memory: 1Gi\n"
        "    arch: arm64\n"
        "  need:\n"
        "    memory: 1Gi\n"
        "    duty: 1\n"
        "    'on': T4\n"
        "  gpu:\n"
        "    allow:\n"
        "    - T4\n"
        "  maxSlowdown: 2\n"
        "  interruptible: true\n"
        "  preallocates: true\n"
        "  notes:\n"
        "  - x\n"
    )


def test_what_has_its_default_is_not_written():
    assert dump(WorkloadSet("us-east-1", (one("replicas: 2"),))) == (
        f"{HEAD}- name: a/b\n  target:\n    kind: Deployment\n  replicas: 2\n"
    )


def test_the_published_schema_accepts_the_example_and_refuses_what_the_reader_refuses():
    published = schema()
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    validator.validate(to_artefact(parsed(EXAMPLE)))
    validator.validate(parse_documents(EXAMPLE.encode(), "w.yaml")[0].data)
    for wrong in (
        "replicas: 1000000000",
        "replica: 1",
        "replicas: 1, need: {duty: 18}",
        "replicas: 1, gpu: {allow: []}",
    ):
        assert not validator.is_valid(
            parse_documents(f"{HEAD}- {{name: a/b, {wrong}}}".encode(), "w.yaml")[0].data
        )


labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
rates = st.floats(1e-3, 1e6) | st.integers(1, 10**6).map(float)
targets = st.builds(
    Target,
    kind=st.sampled_from(["Deployment", "Job", "Pod", "PyTorchJob", "InferenceService"]),
    api_version=st.sampled_from(["", "serving.kserve.io/v1beta1"]),
    container=labels | st.just(""),
    container_index=st.integers(0, 9),
    drop_node_selector=st.lists(texts, max_size=2).map(tuple),
    framework=st.none()
    | st.builds(Framework, name=labels, limit=st.sampled_from(["argument", "environment", "none"])),
)
needs = st.builds(
    Need,
    gpus=st.integers(1, 16),
    memory_mib=st.none() | st.integers(1, 10**6),
    duty_ppm=st.none() | st.integers(1, 10**6),
    on=st.none() | st.sampled_from(sorted(GPUS)),
    source=st.sampled_from(Source),
    isolation=st.sampled_from(Isolation),
    allow=st.frozensets(st.sampled_from(sorted(GPUS)), max_size=3) | st.just(frozenset({ANY_GPU})),
    min_compute_capability=st.none() | st.tuples(st.integers(3, 12), st.integers(0, 9)),
    features=st.frozensets(st.sampled_from(Feature)),
)
services = st.builds(
    Service,
    rate=rates,
    unit=texts,
    latency_ms=rates,
    profiles=st.lists(
        st.builds(
            ServiceProfile,
            slice=st.sampled_from(
                ["L4/whole", "T4/time-slicing/4", "H100/mig/1g.10gb", "L4/fractional/1-8", "L4/mps/12"]
            ),
            batch=st.integers(1, 999),
            processes=st.integers(1, 99),
            rate=rates,
            latency_ms=rates,
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda each: (each.slice, each.batch, each.processes),
    ).map(tuple),
    share=st.floats(0.01, 1),
)


@st.composite
def workloads(draw) -> Workload:
    target, service, preallocates = draw(targets), draw(st.none() | services), draw(st.booleans())
    limit, defaulted = draw(
        st.just(default_slowdown(target.kind))
        | st.tuples(st.none() | st.integers(1000, 10**6), st.just(False))
    )
    return Workload(
        name=f"{draw(labels)}/{draw(labels)}",
        replicas=0 if service else draw(st.integers(0, MOST_REPLICAS)),
        cpu_milli=draw(st.integers(0, 10**6)),
        memory_mib=draw(st.integers(0, 10**7)),
        need=replace(
            draw(needs), max_slowdown_milli=limit, limitable=limitable(target, preallocates=preallocates)
        ),
        target=target,
        tenant=draw(labels),
        slowdown_defaulted=defaulted,
        interruptible=draw(st.booleans()),
        arch=draw(st.sampled_from(["amd64", "arm64"])),
        preallocates=preallocates,
        service=service,
        notes=tuple(draw(st.lists(texts, max_size=2))),
    )


workload_sets = st.builds(
    WorkloadSet,
    region=st.sampled_from(["us-east-1", "ap-southeast-2", "us-gov-west-1"]),
    workloads=st.lists(workloads(), max_size=4, unique_by=lambda each: each.name).map(tuple),
    notes=st.lists(texts, max_size=2).map(tuple),
)


VALIDATOR = jsonschema.Draft202012Validator(schema())


@given(workload_sets)
def test_what_is_written_reads_back_equal_to_everyone(found):
    text = dump(found)
    again = parsed(text, accept_assumed=True)
    assert again == found
    assert dump(again) == text
    assert yaml.safe_load(text) == parse_documents(text.encode(), "w.yaml")[0].data  # as a reader of YAML 1.1
    VALIDATOR.validate(to_artefact(found))
