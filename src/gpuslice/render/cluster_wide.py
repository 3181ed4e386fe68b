"""One setting for every GPU of a cluster, without a plan: what tutorials do, and what that leaves open.

One ConfigMap with one entry, and a ClusterPolicy that makes that entry the default. Fields: GPU Operator v26.7.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.carriers.device_plugin import plugin_config as device_plugin
from gpuslice.carriers.device_plugin.gpu_operator import CHART_VERSION, CHARTS_STRATEGY, WITH_REBOOT
from gpuslice.carriers.device_plugin.mig_parted import CONFIG_LABEL
from gpuslice.carriers.objects.files import HELM_VALUES, POLICY_PATCH, Object, RenderedFile
from gpuslice.carriers.objects.naming import content_name
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.hardware.sharing import MOST_SLOTS
from gpuslice.render.bundle import Bundle, bundle_of
from gpuslice.render.manifests import kustomization
from gpuslice.render.settings import check_namespace

FLAG: Final = "--cluster-wide"
_FORMS: Final = "time-slicing=4, mps=4 or mig=all-1g.10gb"
_PROFILE: Final = re.compile(r"(?:all-)?([0-9]{1,2})g\.([0-9]{1,4})gb")
_OLD_GPU_MPS: Final = 16
"""The most MPS clients before compute capability 7.5: V100."""

_VALUES: Final = """\
Values for NVIDIA's GPU Operator, chart {version}, where it isn't installed yet:

  helm upgrade --install gpu-operator nvidia/gpu-operator --version {version} \\
    --namespace {namespace} --create-namespace --values values.yaml

driver and toolkit are off because the AL2023 NVIDIA image has both.
"""
_POLICY: Final = """\
Where the GPU Operator is installed already, and not by the values beside this file. A patch, no object: it isn't
applied with the rest. It changes every node without the label nvidia.com/device-plugin.config. If the operator uses a
ConfigMap of your own for its device plugin today, copy its entries into the new one first, or nodes that use them lose
their sharing. Lists are replaced whole.{more}

  kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge --patch-file cluster-policy-patch.yaml
"""
_POLICY_MORE: Final = {
    Mechanism.TIME_SLICING: "",
    Mechanism.MPS: " The device plugin refuses MPS under MIG's mixed strategy, so no strategy is left for the cluster: "
    "where nodes use MIG today, this renames their resources.",
    Mechanism.MIG: " Under the single strategy every MIG instance is one nvidia.com/gpu: where nodes use the mixed one "
    "today, this renames their resources. migManager.config stays as it is: if it names a ConfigMap of your own, that "
    "one must have {entry}.",
}
_PLUGIN: Final = """\
One entry, for every node without the label nvidia.com/device-plugin.config. Nodes that use an entry don't notice when
it changes, so it is never edited: another setting is another entry, named by its content. Keep old ones while nodes
use them: the plugin ends on a key that isn't there.
"""
_README: Final = """\
# {title}

Rendered by gpuslice, without a plan. Don't edit: render again.

1. Only where the GPU Operator isn't installed yet; its device plugin waits for the next step:
   ```
   helm upgrade --install gpu-operator nvidia/gpu-operator --version {version} \\
     --namespace {namespace} --create-namespace --values gpu-operator/values.yaml
   ```
2. The ConfigMap:
   ```
   kubectl apply --server-side -k .
   ```
3. Only where the GPU Operator was installed already, by other values:
   ```
   kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge \\
     --patch-file gpu-operator/cluster-policy-patch.yaml
   ```

`gpuslice apply -f` with this directory does 2 and 3, shows first what changes, and can take it back.
"""
_LABEL: Final = """\

Then the nodes. The operator cuts no GPU by default (the only default that it allows is `all-disabled`): a label does.
For nodes with {gpus}, emptied of GPU pods first, since the MIG manager evicts nothing
and fails on a busy GPU:

```
kubectl label node NODE {label}={entry} --overwrite
```

New nodes: the same label on the template of their NodePool or node group. A node is done when its label
`{label}.state` says `success`.
"""
_OPEN: Final = """
What this doesn't do:

"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every GPU of the cluster becomes. Made by `parse`.

    Attributes:
        mechanism: time-slicing, MPS or MIG.
        slots: of each GPU; 0 for MIG.
        profile: of every MIG instance, such as "1g.10gb"; empty for the others.
    """

    mechanism: Mechanism
    slots: int = 0
    profile: str = ""

    @property
    def entry(self) -> str:
        """The MIG manager's own name for the layout: "all-1g.10gb"."""
        return f"all-{self.profile}"


def parse(text: str) -> Setting:
    """The setting that "time-slicing=4", "mps=4" or "mig=all-1g.10gb" stands for.

    Raises:
        InputError: it is none of these, or no GPU can do it.
    """
    kind, _, value = text.partition("=")
    match kind:
        case Mechanism.TIME_SLICING | Mechanism.MPS:
            if not re.fullmatch(r"[0-9]{1,3}", value) or not 2 <= int(value) <= MOST_SLOTS:
                raise InputError(
                    f"{_shown(value)} is no number of pods that can share a GPU by {kind}",
                    where=FLAG,
                    fix=f"write {kind}=2 to {kind}={MOST_SLOTS}",
                )
            return Setting(Mechanism(kind), slots=int(value))
        case Mechanism.MIG:
            return Setting(Mechanism.MIG, profile=_profile(value))
        case _:
            raise InputError(
                f"{_shown(text)} is nothing that a whole cluster can be set to",
                where=FLAG,
                fix=f"{nearest(kind, _KINDS)} write {_FORMS}".lstrip(),
            )


_KINDS: Final = tuple(literal.value for literal in (Mechanism.TIME_SLICING, Mechanism.MPS, Mechanism.MIG))


def _profile(value: str) -> str:
    known = _profiles()
    if value.startswith("all-") and value[4:] in known:
        return value[4:]
    written = _PROFILE.match(value)
    if written is None:
        fix = "write a profile of every instance, such as mig=all-1g.10gb"
    else:
        near = min(known, key=lambda profile: _distance(profile, int(written[1]), int(written[2])))
        fix = f"the nearest is mig=all-{near}, which {_gpus(near, 'and')} can be cut into"
    raise InputError(f"{_shown(value)} is no way to cut every GPU alike", where=FLAG, fix=fix)


def _distance(profile: str, compute: int, gigabytes: int) -> tuple[int, int]:
    """How far a profile is from what was written: memory first, since that is what decides whether a program runs."""
    match = _PROFILE.match(profile)
    return (abs(int(match[2]) - gigabytes), abs(int(match[1]) - compute)) if match else (gigabytes, compute)


def _gpus(profile: str, word: str) -> str:
    *first, last = _profiles()[profile]
    return f"{', '.join(first)} {word} {last}" if first else last


@cache
def _profiles() -> Mapping[str, tuple[str, ...]]:
    """The plain profiles, each with the GPUs that have it. A "+me" one would leave most of the GPU unused."""
    profiles: dict[str, tuple[str, ...]] = {}
    for gpu in GPUS.values():
        for profile in gpu.mig.plain if gpu.mig else ():
            profiles[profile.name] = (*profiles.get(profile.name, ()), gpu.name)
    return profiles


def render(setting: Setting, namespace: str) -> Mapping[str, str]:
    """All files, by relative path; the same setting gives the same bytes.

    Raises:
        InputError: the GPU Operator can't run in such a namespace.
    """
    rendered = objects(setting, namespace)
    files = {file.path: file.text for file in (*rendered, kustomization(rendered))}
    files["README.md"] = _readme(setting, namespace)
    return {path: files[path] for path in sorted(files)}


def bundle(setting: Setting, namespace: str) -> Bundle:
    """What the setting wants of a cluster: what `render` writes into files, as values.

    Raises:
        InputError: the GPU Operator can't run in such a namespace.
    """
    return bundle_of(objects(setting, namespace))


def objects(setting: Setting, namespace: str) -> tuple[RenderedFile, ...]:
    """The ConfigMap, and what isn't applied with it: Helm values, and the same as a patch of the ClusterPolicy.

    Raises:
        InputError: as `render`.
    """
    check_namespace(namespace)
    key, entry = _entry(setting)
    spec = _operator(setting, key)
    values = {"driver": {"enabled": False}, "toolkit": {"enabled": False}, **spec}
    if setting.mechanism is Mechanism.MPS:
        values["mig"] = {"strategy": CHARTS_STRATEGY}
    return (
        RenderedFile(
            HELM_VALUES, (values,), _VALUES.format(version=CHART_VERSION, namespace=namespace), applied=False
        ),
        RenderedFile(
            POLICY_PATCH,
            ({"spec": spec},),
            _POLICY.format(more=_POLICY_MORE[setting.mechanism].format(entry=setting.entry)),
            applied=False,
        ),
        RenderedFile(
            "gpu-operator/device-plugin-config.yaml",
            (device_plugin.holding({key: entry}, namespace),),
            _PLUGIN,
        ),
    )


def notes(setting: Setting) -> tuple[str, ...]:
    """What the setting leaves open, a line each."""
    if setting.mechanism is Mechanism.MIG:
        gpus = _gpus(setting.profile, "or")
        return (
            f"the operator cuts no GPU by default: nodes with {gpus} need the label {CONFIG_LABEL}={setting.entry}",
            f"Karpenter isn't told: it counts one {WHOLE_GPU} a GPU until a node is there. A plan renders NodeOverlays",
        )
    shared = {
        Mechanism.TIME_SLICING: "no limit of memory: one that takes too much crashes the others",
        Mechanism.MPS: f"1/{setting.slots} of its memory each, and one that fails can end the others",
    }
    old = setting.mechanism is Mechanism.MPS and setting.slots > _OLD_GPU_MPS
    return (
        f"tenants aren't kept apart: any pods share a GPU, with {shared[setting.mechanism]}",
        "pods that ask for 2 GPUs or more fail to start, on every node",
        "Karpenter isn't told: it counts one pod a GPU until a node is there. A plan renders NodeOverlays",
        *((f"V100 takes at most {_OLD_GPU_MPS} pods by MPS",) if old else ()),
    )


def title(setting: Setting) -> str:
    """The setting, for people."""
    if setting.mechanism is Mechanism.MIG:
        return f"every GPU cut into {setting.profile}"
    return f"{setting.slots} pods on every GPU, by {setting.mechanism}"


def _entry(setting: Setting) -> tuple[str, str]:
    """The device plugin's configuration: its key, named by its content, and its text."""
    if setting.mechanism is Mechanism.MIG:
        # One of its own too: a default that is there already may share GPUs, and would share MIG instances as well.
        stem = "mig-single"
        entry: Object = {"version": "v1", "flags": {"migStrategy": "single"}}
    else:
        stem = f"all-{device_plugin.STEM[setting.mechanism]}{setting.slots}"
        entry = device_plugin.shared(setting.mechanism, setting.slots, rename=False)
    text = dump_yaml(entry)
    return content_name(stem, text), text


def _operator(setting: Setting, key: str) -> dict[str, object]:
    """The operator's fields, of the same names in Helm values and in the ClusterPolicy."""
    config: Object = {"name": device_plugin.CONFIG_MAP, "default": key}
    fields: dict[str, object] = {"devicePlugin": {"config": config}}
    match setting.mechanism:
        case Mechanism.MPS:
            fields["mig"] = {"strategy": None}
        case Mechanism.MIG:
            fields["mig"] = {"strategy": "single"}
            if any(name.startswith("A100") for name in _profiles()[setting.profile]):
                fields["migManager"] = {"env": WITH_REBOOT}
        case _:
            pass  # MIG nodes stay as they are
    return fields


def _readme(setting: Setting, namespace: str) -> str:
    words = title(setting)
    text = _README.format(title=words[0].upper() + words[1:], version=CHART_VERSION, namespace=namespace)
    if setting.mechanism is Mechanism.MIG:
        gpus = _gpus(setting.profile, "or")
        text += _LABEL.format(gpus=gpus, label=CONFIG_LABEL, entry=setting.entry)
    return text + _OPEN + "".join(f"- {note[0].upper()}{note[1:]}.\n" for note in notes(setting))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
