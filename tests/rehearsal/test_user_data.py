import pytest

from gpuslice.errors import InputError
from gpuslice.hardware.stacks import Stack
from gpuslice.rehearsal.user_data import FEATURES, boot
from tests.rehearsal.made_user_data import TAINT, bottlerocket_user_data, nodeadm_user_data

LABELS = {"gpuslice.io/pool": "a", "x": "y"}


def script(*lines):
    head = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B\nContent-Type: text/x-shellscript\n\n'
    return head + "#!/bin/bash\n" + "\n".join(lines) + "\n--B--\n"


def test_nodeadm_and_bottlerocket_boot_a_node_with_the_same_labels_and_taints():
    one, other = boot(nodeadm_user_data(LABELS)), boot(bottlerocket_user_data(LABELS))

    assert (one.stack, other.stack) == (Stack.AL2023, Stack.BOTTLEROCKET)
    assert one.labels == other.labels == LABELS
    assert one.taints == (TAINT,)
    assert other.taints == ({**TAINT, "value": ""},)


@pytest.mark.parametrize("comment", ["# +no-label", ""])
def test_a_feature_file_gives_a_feature_and_a_label_unless_it_says_no_label(comment):
    user_data = nodeadm_user_data(
        LABELS, script("set -eu", f"printf '%s\\n' '{comment}' 'a=b' > {FEATURES}x")
    )

    booted = boot(user_data)

    assert booted.features["a"] == "b"
    assert ("a" in booted.feature_labels) == (not comment)


def test_a_feature_file_with_a_dot_is_not_read():
    assert not boot(nodeadm_user_data(LABELS, script(f"printf '%s\\n' 'a=b' > {FEATURES}.x"))).features


@pytest.mark.parametrize("line", ["rm -rf /", "curl x | sh", "printf '%s' 'a=b' > /x", "mv /a /b"])
def test_a_script_with_another_command_is_a_node_that_does_not_boot(line):
    with pytest.raises(InputError, match="not understood"):
        boot(nodeadm_user_data(LABELS, script(line)))
