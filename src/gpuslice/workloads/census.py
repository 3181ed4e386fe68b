"""Objects, of manifests or of a cluster, into workloads: each pod counted once, whatever is left out with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec

from gpuslice.errors import InputError
from gpuslice.hardware.resource_names import is_gpu
from gpuslice.units import first_of
from gpuslice.workloads.artefact import WorkloadSet
from gpuslice.workloads.assemble import adopted, workload_of
from gpuslice.workloads.autoscaling import autoscalers, scaled
from gpuslice.workloads.claims import Claims
from gpuslice.workloads.gpu_use import looks_like_gpu, not_understood, pod_uses, quantity_of, uses
from gpuslice.workloads.kinds import finished, templates
from gpuslice.workloads.models_today import NONE_STATED
from gpuslice.workloads.neighbours import PodRules, rules_of, with_rules
from gpuslice.workloads.objects import PodSpec, convert, fields_of, whole_number
from gpuslice.workloads.owners import Family, Key, Object
from gpuslice.workloads.repeats import suffixes
from gpuslice.workloads.unplanned import always_uses, why_left_out
from gpuslice.workloads.unread import Unread
from gpuslice.workloads.use import words_of
from gpuslice.workloads.volumes import Volumes

if TYPE_CHECKING:
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.models_today import StatedModels
    from gpuslice.workloads.objects import Fields
    from gpuslice.workloads.template import Template
    from gpuslice.workloads.use import Use

_NAMED: Final = 6  # of what is given several times, in a note


def from_objects(
    objects: list[Object],
    *,
    today: StatedModels = NONE_STATED,
    region: str = "us-east-1",
    exclude: Sequence[str] = (),
    strict: bool = False,
    passed_over: int = 0,
) -> tuple[WorkloadSet, tuple[Unread, ...]]:
    """The workloads among objects that ask for a GPU, and what couldn't be understood.

    Args:
        objects: with their owners among them, as far as known.
        today: GPU models that workloads run on where their object doesn't say.
        region: of the workload set.
        exclude: patterns of workload names to leave out.
        strict: refuse all where one object can't be understood. In a cluster with a thousand of them one is always
            wrong.
        passed_over: objects with pods and without a GPU that aren't among them.

    Raises:
        InputError: if strict, an object or annotation that can't be understood.
    """
    census = _Census(objects, strict=strict, passed_over=passed_over)
    counted = [
        one
        for one in census.workloads()
        if not any(fnmatchcase(one.workload.name, pattern) for pattern in exclude)
    ]
    named = with_rules(list(_named_once(counted)), [one.rules for one in counted])
    workloads = sorted(named, key=lambda workload: workload.name)
    notes = (*census.notes(), *census.repeats(counted))
    on_models = tuple(today.given_to(workload) for workload in workloads)
    return WorkloadSet(region=region, workloads=on_models, notes=notes), tuple(census.unread)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A workload, the object that it was read from, and what its pods say of others."""

    workload: Workload
    source: Object
    rules: PodRules


class _Census:
    """One input being read: its objects, their templates, and what was seen on the way."""

    def __init__(self, objects: list[Object], *, strict: bool, passed_over: int) -> None:
        self._objects = objects
        self._strict = strict
        self._family = Family(objects)
        self._claims = Claims(objects)
        self._volumes = Volumes(objects)
        self.unread: list[Unread] = []
        self._borrowed = self._borrowed_replicas()
        self._bounds = autoscalers(objects, self._refuse)
        self._others = passed_over
        self._finished = 0
        self._unplanned: list[tuple[Object, tuple[Use, ...], bool]] = []
        self._templates = [self._gpu_templates(obj) for obj in objects]
        self._with_gpu = {
            obj.key for obj, templates in zip(objects, self._templates, strict=True) if templates
        }

    def workloads(self) -> Iterator[_Counted]:
        """One for each template that asks for a GPU and isn't counted at an owner."""
        orphans: dict[tuple[object, ...], list[_Counted]] = {}
        written: set[tuple[str, Key]] = set()
        for obj, templates_of_it in zip(self._objects, self._templates, strict=True):
            if any(parent.key in self._with_gpu for parent in self._family.ancestors(obj)):
                continue
            if templates_of_it and obj.metadata.name and (obj.path, obj.key) in written:
                self._refuse(obj, _given_twice(obj))
                continue
            written.add((obj.path, obj.key))
            owner = self._family.missing_owner(obj) if templates_of_it else None
            for template in templates_of_it:
                one = self._clear(obj, template)
                if one is None:
                    continue
                workload = one.workload
                if owner is None:
                    yield one
                elif workload.replicas:  # a ReplicaSet that stands at zero is history
                    # Pods of one absent owner are one workload as long as they are alike.
                    alike = (owner, obj.namespace, workload.need, workload.cpu_milli, workload.memory_mib)
                    orphans.setdefault(alike, []).append(replace(one, workload=adopted(workload, obj, owner)))
        for group in orphans.values():
            first = group[0]
            replicas = sum(one.workload.replicas for one in group)
            yield replace(first, workload=replace(first.workload, replicas=replicas))

    def notes(self) -> Iterator[str]:
        """What a person should know of the input as a whole, once its workloads were read."""
        if self._others:
            yield f"{self._others:,} other object{'s' * (self._others > 1)} with pods, without a GPU: left out"
        if self._finished:
            yield f"{self._finished} finished Job{'s' * (self._finished > 1)} or Pods: left out"
        seen = {
            parent.key
            for obj in self._objects
            if obj.key in self._with_gpu
            for parent in self._family.ancestors(obj)
        }
        alike: dict[tuple[str, str, str], list[str]] = {}
        for user, used, known in self._unplanned:
            if user.key not in seen and not self._counted_above(user):
                names = alike.setdefault(
                    (user.kind, words_of(used), why_left_out(user, used, known=known)), []
                )
                names.append(f"{user.namespace}/{user.name}")
        for (kind, what, why), names in alike.items():
            once = list(dict.fromkeys(names))
            held = "each hold" if len(once) > 1 else "holds"
            yield f"{kind} {', '.join(once)} {held} {what}: left out, {why}"

    def repeats(self, counted: Iterable[_Counted]) -> Iterator[str]:
        """Notes on objects that are given several times, by different directories or files."""
        often = Counter(key for key, _ in {(one.source.key, one.source.path) for one in counted})
        repeated = sorted(
            f"{kind} {namespace}/{name}" for (kind, namespace, name), n in often.items() if n > 1
        )
        if repeated:
            yield (
                f"given more than once, and told apart by directory or file: "
                f"{first_of(repeated, _NAMED)}; plan for the files of one environment"
            )

    def _counted_above(self, obj: Object) -> bool:
        """Whether what an object uses is told at its owner already."""
        above = {parent.key for parent in self._family.ancestors(obj)}
        return bool(above & ({other.key for other, _, _ in self._unplanned} | self._with_gpu))

    def _refuse(self, obj: Object, error: InputError) -> None:
        """Note something that can't be understood; if strict, refuse all for it."""
        if self._strict:
            raise error
        # Pods of one owner are all wrong alike.
        owner = self._family.missing_owner(obj)
        place = f"{obj.namespace}/{owner.name}" if owner else obj.where
        if all(one.place != place for one in self.unread):
            self.unread.append(Unread(error, place=place))

    def _gpu_templates(self, obj: Object) -> tuple[Template, ...]:
        try:
            understood = templates(obj.data, obj.where)
        except InputError as error:
            if uses(obj.data, self._claims, obj.namespace):
                self._refuse(obj, error)
            return ()
        if understood is None:
            used = uses(obj.data, self._claims, obj.namespace) or always_uses(obj.data)
            if used:
                self._unplanned.append((obj, used, False))
            return ()
        with_gpu = tuple(template for template in understood if _asks_for_gpu(template.pod))
        if with_gpu and finished(obj.data):
            self._finished += 1
            return ()
        used = tuple(
            use
            for template in understood
            if template not in with_gpu
            # A Ray head has the image of its workers.
            for use in pod_uses(
                template.pod,
                template.replicas,
                self._claims,
                obj.namespace,
                servers=not with_gpu and template.role != "head",
            )
        )
        if used and not finished(obj.data):
            self._unplanned.append((obj, used, True))
        elif understood and not with_gpu and next(self._family.ancestors(obj), None) is None:
            self._others += 1
        return with_gpu

    def _clear(self, obj: Object, template: Template) -> _Counted | None:
        """The workload of a template; None where it can't be understood and is left out."""
        try:
            labels = convert(template.labels or {}, dict[str, str], obj.where)
            rules = rules_of(convert(template.pod, PodSpec, obj.where), obj.namespace, labels)
            return _Counted(self._workload(obj, template), obj, rules)
        except InputError as error:
            self._refuse(obj, error)
            return None

    def _workload(self, obj: Object, template: Template) -> Workload:
        if obj.key in self._borrowed:
            template = replace(template, replicas=self._borrowed[obj.key])
        if obj.key in self._bounds:
            template = scaled(template, obj.data, self._bounds[obj.key])
        strange = _other_resources(template.pod)
        if strange:
            template = replace(template, notes=(*template.notes, *strange))
        workload = workload_of(obj, template)
        bound = self._volumes.bound(obj, template)
        return replace(workload, stays=(*workload.stays, *bound)) if bound else workload

    def _borrowed_replicas(self) -> dict[Key, int]:
        """Argo Rollouts that use a Deployment's template: the pods are theirs, the template is its."""
        borrowed: dict[Key, int] = {}
        for obj in self._objects:
            reference = fields_of(obj.data, "spec", "workloadRef")
            if obj.kind != "Rollout" or not reference:
                continue
            key = (str(reference.get("kind")), obj.namespace, str(reference.get("name")))
            try:
                borrowed[key] = whole_number(fields_of(obj.data, "spec"), "replicas", 1, obj.where)
            except InputError as error:
                self._refuse(obj, error)
        return borrowed


def _given_twice(obj: Object) -> InputError:
    return InputError(
        "is given twice in this file, the second time left out",
        where=obj.where,
        fix="leave one out: name the files or directories of one environment",
    )


def _named_once(counted: list[_Counted]) -> Iterator[Workload]:
    """Names made unique: two kinds may have objects of one name, and one object may stand in several files."""
    files: dict[Key, list[str]] = {}
    for one in counted:
        known = files.setdefault(one.source.key, [])
        if one.source.path not in known:
            known.append(one.source.path)
    apart = {key: suffixes(listed) for key, listed in files.items() if len(listed) > 1}
    named = []
    for one in counted:
        suffix = apart.get(one.source.key, {}).get(one.source.path, "")
        named.append((one.workload, f"{one.workload.name}-{suffix}" if suffix else one.workload.name))
    often = Counter(name for _, name in named)
    taken: set[str] = set()
    for workload, wanted in named:
        name = wanted
        if often[wanted] > 1:
            name = stem = f"{wanted}-{workload.target.kind.lower()}"
            number = 2
            while name in taken or name in often:
                name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        if name == workload.name:
            yield workload
            continue
        object_name = workload.target.name or workload.name.partition("/")[2]
        target = msgspec.structs.replace(workload.target, name=object_name)
        yield replace(workload, name=name, target=target)


def _asks_for_gpu(pod: Fields) -> bool:
    """A quick look that refuses nothing: pods without a GPU are nobody's business here."""
    return any(is_gpu(resource) and quantity for resource, quantity in _asked(pod))


def _other_resources(pod: Fields) -> list[str]:
    """Notes on what a pod asks for beside its GPU and that looks like one."""
    return [
        f"it asks for more than a GPU, too: {not_understood(resource)}"
        for resource in dict.fromkeys(name for name, quantity in _asked(pod) if quantity)
        if looks_like_gpu(resource)
    ]


def _asked(pod: Fields) -> Iterator[tuple[str, int]]:
    for listed in ("containers", "initContainers"):
        containers = pod.get(listed)
        for container in containers if isinstance(containers, list) else ():
            for kind in ("limits", "requests"):
                for resource, quantity in fields_of(container, "resources", kind).items():
                    yield str(resource), quantity_of(str(resource), quantity)
