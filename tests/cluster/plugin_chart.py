"""NVIDIA's chart of the device plugin, as Helm would leave it in a cluster."""

from tests.cluster.sliced import TOLERATION

LABEL = "nvidia.com/device-plugin.config"
IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"


def variables(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


def chart(
    *,
    tolerations=(TOLERATION,),
    default="default",
    fallbacks="named,single",
    manager=True,
    config="nvdp-configs",
    selector=None,
    **env,
):
    """NVIDIA's chart nvidia-device-plugin as release nvdp, in namespace nvidia."""
    managed = {
        "image": IMAGE,
        "command": ["config-manager"],
        "env": variables(
            NODE_LABEL=LABEL,
            CONFIG_FILE_SRCDIR="/available-configs",
            CONFIG_FILE_DST="/config/config.yaml",
            DEFAULT_CONFIG=default,
            FALLBACK_STRATEGIES=fallbacks,
        ),
    }
    plugin = {
        "name": "nvidia-device-plugin-ctr",
        "image": IMAGE,
        "command": ["nvidia-device-plugin"],
        "env": variables(
            MPS_ROOT="/run/nvidia/mps", **({"CONFIG_FILE": "/config/config.yaml"} if manager else {}), **env
        ),
    }
    spec = {
        "initContainers": [{"name": "nvidia-device-plugin-init", **managed}] if manager else [],
        "containers": [*([{"name": "nvidia-device-plugin-sidecar", **managed}] if manager else []), plugin],
        "nodeSelector": selector or {},
        "tolerations": list(tolerations),
        "volumes": [
            {"name": "kubelet-device-plugins-dir", "hostPath": {"path": "/var/lib/kubelet/device-plugins"}},
            *([{"name": "available-configs", "configMap": {"name": config}}] if config else []),
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "nvdp-nvidia-device-plugin", "namespace": "nvidia"},
        "spec": {
            "selector": {"matchLabels": {"app": "nvdp"}},
            "template": {"metadata": {"labels": {"app": "nvdp"}}, "spec": spec},
        },
    }
