"""Counts the pods that a cluster has had, from a watch: what a test of a migration says about restarts."""

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager
from typing import Any

from lightkube import AsyncClient, KubeConfig
from lightkube.resources.core_v1 import Pod
from lightkube.types import on_error_retry


class Seen:
    """Every pod that there was in some namespaces.

    Attributes:
        pods: (namespace, name of the workload by its label app) of each pod, by uid.
    """

    def __init__(self):
        self.pods = {}

    def since(self, earlier):
        """How many pods there were of each workload that weren't among these."""
        return Counter(owner for uid, owner in self.pods.items() if uid not in earlier)


@contextmanager
def watched(control_plane, namespaces):
    """Watch pods until the end of the block."""
    seen, stop, failures = Seen(), threading.Event(), []

    async def watch():
        async with AsyncClient(config=KubeConfig.from_file(control_plane.kubeconfig)) as client:
            async for _, pod in client.watch(Pod, namespace="*", on_error=on_error_retry):
                metadata: Any = pod.metadata
                if metadata.namespace in namespaces:
                    seen.pods[metadata.uid] = metadata.namespace, metadata.labels["app"]

    async def until_stopped():
        watching = asyncio.create_task(watch())
        stopped = asyncio.create_task(asyncio.to_thread(stop.wait))
        await asyncio.wait((watching, stopped), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()  # a watch ends only by an error
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    def run():
        try:
            asyncio.run(until_stopped())
        except Exception as error:  # noqa: BLE001  told to whoever leaves the block
            failures.append(error)

    thread = threading.Thread(target=run, name="watched pods")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not failures, failures
