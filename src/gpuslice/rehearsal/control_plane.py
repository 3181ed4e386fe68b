"""A real Kubernetes control plane on loopback: etcd, API server with RBAC, scheduler, controllers, and the CRDs.

It has no nodes and no kubelets. Seven seconds to start once the programs are built.

    with ControlPlane.start(build(say)) as control_plane:
        client = control_plane.client()
"""

from __future__ import annotations

import secrets
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.rehearsal import crds
from gpuslice.rehearsal.build import Binaries
from gpuslice.rehearsal.ports import free_ports
from gpuslice.rehearsal.processes import Processes

if TYPE_CHECKING:
    from lightkube import Client

ADMIN: Final = "admin"
"""The user who may do anything."""
STRANGER: Final = "stranger"
"""A user without any right, for trying RBAC: bind roles to this name."""

# Without node-lifecycle: nobody renews the leases of our nodes, and it would find them all gone. No cloud, no volumes.
_CONTROLLERS: Final = (
    "serviceaccount-controller",
    "deployment-controller",
    "replicaset-controller",
    "daemonset-controller",
    "statefulset-controller",
    "job-controller",
    "cronjob-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "clusterrole-aggregation-controller",
)
# The default 20 queries a second would stretch a burst of pods over many of Karpenter's batch windows.
_UNTHROTTLED: Final = ("--kube-api-qps", "500", "--kube-api-burst", "1000")


class ControlPlane:
    """A running control plane.

    Attributes:
        directory: its files; `logs/` has a log for each process.
        kubeconfig: of the administrator.
        stranger_kubeconfig: of a user without any right.
        server: the API server's URL.
        processes: to start more beside it, which end with it.
    """

    def __init__(self, binaries: Binaries, directory: Path | None = None) -> None:
        made = Path(tempfile.mkdtemp(prefix="gpuslice-scratch-")) if directory is None else directory
        self.directory = made.resolve()
        self._temporary = directory is None
        self._binary = binaries.control_plane
        for literal in ("logs", "pki"):
            (self.directory / literal).mkdir(parents=True, exist_ok=True)
        self._etcd, self._etcd_peer, self._api, self._scheduler, self._kcm = free_ports(5)
        self.server = f"https://127.0.0.1:{self._api}"
        self.kubeconfig = self.directory / "kubeconfig"
        self.stranger_kubeconfig = self.directory / "kubeconfig-stranger"
        self.processes = Processes(self.directory / "logs", self.directory if self._temporary else None)

    @classmethod
    def start(
        cls, binaries: Binaries, directory: Path | None = None, *, more_crds: Iterable[Path] = ()
    ) -> Self:
        """Start everything and wait until it is ready.

        Args:
            binaries: as `gpuslice.rehearsal.build` made them.
            directory: for its files, empty or not there yet; None: a temporary one, removed at the end.
            more_crds: files with CRDs to install beside those of Karpenter and Node Feature Discovery.

        Raises:
            EnvironmentFailedError: something doesn't start.
        """
        self = cls(binaries, directory)
        try:
            self._start(binaries.crds, more_crds)
        except BaseException:
            self.stop()
            raise
        return self

    def client(self) -> Client:
        """A client of the administrator, with the namespace "default"."""
        from lightkube import Client, KubeConfig

        return Client(config=KubeConfig.from_file(self.kubeconfig))

    def stop(self) -> None:
        """End all processes, and remove the directory if it was a temporary one."""
        self.processes.stop_all()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, own_crds: Iterable[Path], more_crds: Iterable[Path]) -> None:
        self._make_keys()
        self._start_etcd()
        self._start_api_server()
        self._start_scheduler()
        self._start_controllers()
        for name, port in (("kube-scheduler", self._scheduler), ("kube-controller-manager", self._kcm)):
            self.processes.wait_until(partial(_answers, f"https://127.0.0.1:{port}/healthz"), name)
        with self.client() as client:
            crds.install(client, own_crds, (*more_crds, *crds.STAND_INS))
            # Pods are refused in a namespace that has none.
            self.processes.wait_until(lambda: _has_service_account(client), "the default service account")

    def _make_keys(self) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_secret(
            self._pki("service-accounts.key"),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            ).decode(),
        )
        self._tokens = {ADMIN: secrets.token_hex(16), STRANGER: secrets.token_hex(16)}
        _write_secret(
            self._pki("tokens.csv"),
            f"{self._tokens[ADMIN]},{ADMIN},{ADMIN},system:masters\n"
            f"{self._tokens[STRANGER]},{STRANGER},{STRANGER}\n",
        )

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._etcd_peer}"
        self.processes.start(
            "etcd",
            (
                *(self._binary, "etcd", "--data-dir", self.directory / "etcd"),
                *("--unsafe-no-fsync", "--log-level", "warn"),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"default={peer}"),
            ),
        )

    def _start_api_server(self) -> None:
        key = self._pki("service-accounts.key")
        self.processes.start(
            "kube-apiserver",
            (
                *(self._binary, "kube-apiserver", "--etcd-servers", f"http://127.0.0.1:{self._etcd}"),
                *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"),
                *("--secure-port", str(self._api), "--cert-dir", self.directory / "pki"),
                *("--endpoint-reconciler-type", "none"),  # loopback can't be an endpoint
                *("--authorization-mode", "RBAC", "--token-auth-file", self._pki("tokens.csv")),
                *("--service-account-issuer", "https://kubernetes.default.svc"),
                *("--service-account-key-file", key, "--service-account-signing-key-file", key),
                *("--service-cluster-ip-range", "10.96.0.0/16", "--allow-privileged"),
            ),
        )
        certificate = self._pki("apiserver.crt")
        self.processes.wait_until(certificate.exists, "the API server's certificate")
        for user, path in ((ADMIN, self.kubeconfig), (STRANGER, self.stranger_kubeconfig)):
            _write_secret(path, dump_yaml(self._kubeconfig_of(user, certificate)))
        self.processes.wait_until(
            lambda: _answers(f"{self.server}/readyz", self._tokens[ADMIN]), "kube-apiserver"
        )

    def _start_scheduler(self) -> None:
        self.processes.start(
            "kube-scheduler",
            (*(self._binary, "kube-scheduler"), *self._component("scheduler", self._scheduler)),
        )

    def _start_controllers(self) -> None:
        self.processes.start(
            "kube-controller-manager",
            (
                *(self._binary, "kube-controller-manager"),
                *self._component("controllers", self._kcm),
                *("--service-account-private-key-file", self._pki("service-accounts.key")),
                *("--use-service-account-credentials=false", "--controllers", ",".join(_CONTROLLERS)),
            ),
        )

    def _component(self, name: str, port: int) -> tuple[str | Path, ...]:
        return (
            *("--kubeconfig", self.kubeconfig, "--leader-elect=false", *_UNTHROTTLED),
            *("--authentication-skip-lookup", "--bind-address", "127.0.0.1"),
            *("--secure-port", str(port), "--cert-dir", self._pki(name)),
        )

    def _kubeconfig_of(self, user: str, certificate: Path) -> dict[str, object]:
        name = "gpuslice-scratch"
        cluster = {"server": self.server, "certificate-authority": str(certificate)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        }

    def _pki(self, name: str) -> Path:
        return self.directory / "pki" / name


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _answers(url: str, token: str = "") -> bool:
    """Whether a health endpoint on loopback says ok; its certificate was made a second ago, and nobody checks it."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=5, context=unchecked) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def _has_service_account(client: Client) -> bool:
    from lightkube import ApiError
    from lightkube.resources.core_v1 import ServiceAccount

    try:
        client.get(ServiceAccount, "default", namespace="default")
    except ApiError:
        return False
    return True
