"""User data as Karpenter v1.14 makes it: the node class's own, and its part beside or inside."""

import base64
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import Parser

import yaml

TAINT = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}


def nodeadm_user_data(labels, custom=""):
    archive = MIMEMultipart()
    for part in Parser().parsestr(custom).walk() if custom else ():
        if part.get_content_type() == "text/x-shellscript":
            archive.attach(_part("x-shellscript", part.get_payload()))
    flag = ",".join(f"{name}={value}" for name, value in labels.items())
    kubelet = {"flags": [f'--node-labels="{flag}"'], "config": {"registerWithTaints": [TAINT]}}
    node_config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": {"kubelet": kubelet}}
    archive.attach(_part("node.eks.aws", yaml.safe_dump(node_config), main="application"))
    return _encoded("MIME-Version: 1.0\n" + archive.as_string())


def bottlerocket_user_data(labels, custom=""):
    lines = [custom, "[settings.kubernetes.node-labels]"]
    lines += [f'"{name}" = "{value}"' for name, value in labels.items()]
    lines += ["[settings.kubernetes.node-taints]", '"karpenter.sh/unregistered" = [":NoExecute"]']
    return _encoded("\n".join(lines))


def _part(subtype, text, main="text"):
    part = MIMEText(text, subtype)
    part.replace_header("Content-Type", f"{main}/{subtype}")
    part.replace_header("Content-Transfer-Encoding", "7bit")
    return part


def _encoded(text):
    return base64.b64encode(text.encode()).decode()
