"""The same requests from a compiled client, and the limit: a Python client spends most of its time on itself.

What the network path costs at least on this machine, an AF_XDP echo in our own code says
(:mod:`splinter_bench.subjects.echo`); it runs on a lab of its own, beside the server's.
"""

from __future__ import annotations

import numpy as np
from splinter_bench.generators.afxdp_client import AfxdpClient
from splinter_bench.generators.path import find
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.subjects.echo import EchoLimit
from splinter_bench.workloads.wordnet import TABLE_SYNSETS, synset_key
from splinter_bench.workloads.workload import Operation, Workload

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.net.lab import Lab
from splinter.server.instance import InstanceInfo
from splinter.wire import Header, Opcode

_DEPTH = 1


def measure(info: InstanceInfo, tenant: TenantInfo, client: Client, synset: int, seconds: float) -> list[tuple[str, Result]]:
    """Echo, a get of one synset, and the invoke of its path, each for ``seconds`` at depth 1, with a name for each.

    Needs a server in a lab; the echo's own lab is named after the instance.
    """
    server_core = info.cores[tenant.home]
    client_core = next((core for core in info.cores if core != server_core), server_core)
    with (
        Lab(f"{info.instance}-echo") as lab,
        EchoLimit(
            lab.server.namespace,
            lab.client.namespace,
            lab.server.address,
            server_core=server_core,
            client_core=client_core,
        ) as limit,
    ):
        measured = [("AF_XDP echo: the limit", limit.measure(_DEPTH, seconds))]
    signature = client.signature("path_to_root")
    requests = {
        "one get": _request(tenant, Opcode.GET, synset_key(synset), table=TABLE_SYNSETS),
        "path to root by invoke": _request(
            tenant, Opcode.INVOKE, b"path_to_root", signature.pack((synset,), {}), object_version=signature.hash
        ),
    }
    with AfxdpClient(find(info.address, info.client_netns), netns=info.client_netns) as generator, pinned(client_core):
        for name, payload in requests.items():
            measured.append((name, generator.run(_always(name, payload), depth=_DEPTH, seconds=seconds)))
    return measured


def _request(tenant: TenantInfo, opcode: Opcode, key: bytes, value: bytes = b"", **fields: int) -> bytes:
    lengths = {"key_length": len(key), "value_length": len(value)}
    header = Header(opcode=opcode, tenant=tenant.tenant, token=tenant.token, **lengths, **fields)
    return header.pack() + key + value


def _always(name: str, payload: bytes) -> Workload:
    return Workload(name, (Operation(name, payload),), np.zeros(1, np.uint8), np.zeros(1, np.int64))
