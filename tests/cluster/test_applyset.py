"""The ApplySet convention, as kubectl keeps it."""

from gpuslice.cluster.apply import applyset


def test_an_id_is_that_which_kubectl_gives():
    # The example of Kubernetes' documentation: the Secret my-set in the namespace test.
    wanted = "applyset-0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY-v1"
    assert applyset.identity("my-set", "test", "Secret") == wanted


def test_the_parent_names_itself_its_tool_and_what_the_set_has():
    made = applyset.parent_metadata(["NodePool.karpenter.sh", "ConfigMap"], ["gpu-operator", "gpuslice"])
    assert made["labels"]["applyset.kubernetes.io/id"] == applyset.identity()
    notes = made["annotations"]
    assert notes["applyset.kubernetes.io/tooling"].startswith("gpuslice/v")
    assert notes["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap,NodePool.karpenter.sh"
    assert notes["applyset.kubernetes.io/additional-namespaces"] == "gpu-operator"


def test_members_keep_their_own_labels():
    made = applyset.labelled({"metadata": {"name": "a", "labels": {"x": "y"}}})
    assert made["metadata"]["labels"] == {"x": "y", "applyset.kubernetes.io/part-of": applyset.identity()}
    assert applyset.is_member(made)
    assert not applyset.is_member({"metadata": {"labels": {"applyset.kubernetes.io/part-of": "another"}}})
