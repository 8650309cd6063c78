"""TAO's mix of operations on the library's extensions ``tao``, and a graph to ask about.

N. Bronson et al., "TAO: Facebook's Distributed Data Store for the Social Graph" (USENIX ATC'13), table 2.

The graph: as many objects as keys, each with associations of one type to others. Their number has a power-law tail and a mean
of about three; who is pointed at is drawn by the same Zipf distribution as who is asked for. The paper gives no distribution
of requests over objects: ours is Zipf, as everywhere here.
"""

from __future__ import annotations

import numpy as np

from splinter.ext.compile import compile_source
from splinter.ext.library import entry
from splinter.ext.signature import Signature
from splinter_bench.seed import SEED
from splinter_bench.workloads.catalogue import Plan, Shape, each_tenant_once, tenants_of
from splinter_bench.workloads.distribution import Distribution
from splinter_bench.workloads.workload import NUMBER_BYTES, SCHEDULE_ENTRIES, Operation, Workload, invoke_operation

READS, WRITES = 0.998, 0.002
READ_SHARES = {"assoc_get": 15.7, "assoc_range": 40.9, "assoc_time_range": 2.8, "assoc_count": 11.7, "obj_get": 28.9}
WRITE_SHARES = {
    "assoc_add": 52.5,
    "assoc_delete": 8.3,
    "assoc_change_type": 0.9,  # the association leaves one list and joins another: two invokes, one after the other
    "obj_add": 16.5,
    "obj_update": 20.7,
    "obj_delete": 2.0,
}
NAMES = (*READ_SHARES, *WRITE_SHARES)
TYPE, OTHER_TYPE = 1, 2  # of associations
_LIMIT = 50  # associations of one answer
_ALWAYS = (1 << 64) - 1
_TAIL, _DEGREE_MAX = 1.5, 1000  # of the Pareto distribution of associations for each object
_ID1, _ID2 = 0, 1  # columns of the schedule


def plan(shape: Shape) -> Plan:
    """Store the graph for each tenant, then the mix. Objects have ``shape.value_bytes`` of data."""
    random = np.random.default_rng(SEED)
    made = operations(shape)
    objects = shape.keys_each
    popular = Distribution("zipf", 1, objects, shape.theta)
    degrees = np.minimum(random.pareto(_TAIL, objects) + 1, _DEGREE_MAX).astype(np.int64)
    ends = np.cumsum(degrees)
    targets = popular.sample(random, int(ends[-1]))
    edges = np.column_stack([np.repeat(np.arange(1, objects + 1), degrees), targets])

    choice = draw(random, SCHEDULE_ENTRIES)
    asked = popular.sample(random, SCHEDULE_ENTRIES)
    place = ends[asked - 1] - 1 - random.integers(0, degrees[asked - 1])  # one of its associations
    numbers = np.column_stack([asked, targets[place]])
    who = tenants_of(shape, random, SCHEDULE_ENTRIES)
    mix = Workload("tao", tuple(made[name] for name in NAMES), choice, numbers, shape.accounts, who)
    loads = (
        each_tenant_once(made["obj_add"], shape),
        each_tenant_once(made["assoc_add"], shape, edges, name="load associations"),
    )
    return Plan(mix, loads, tuple(entry("tao").sources.values()))


def draw(random: np.random.Generator, count: int) -> np.ndarray:
    """Which of NAMES each of so many requests is, by their shares, as ``uint16[count]``."""
    shares = [share * READS for share in READ_SHARES.values()] + [share * WRITES for share in WRITE_SHARES.values()]
    return random.choice(len(NAMES), count, p=np.array(shares) / sum(shares)).astype(np.uint16)


def operations(shape: Shape) -> dict[str, Operation]:
    """An invoke for each of NAMES; the schedule's columns are id1 and id2."""
    data, sources = bytes(shape.value_bytes), entry("tao").sources
    signatures: dict[str, Signature] = {name: compile_source(text).signature for name, text in sources.items()}
    first, second = (0, _ID1), (2 * NUMBER_BYTES, _ID2)  # places of id1 and id2 in the arguments

    def invoke(name: str, *arguments: object, numbers: tuple[tuple[int, int], ...], writes: bool = False) -> Operation:
        packed = signatures[name].pack(arguments)
        return invoke_operation(shape.accounts[0], name, packed, numbers=numbers, writes=writes)

    wanted = bytes(NUMBER_BYTES)  # the id2 that assoc_get asks for, behind the arguments' words
    at_wanted = signatures["assoc_get"].arguments_bytes_min
    remove = invoke("assoc_delete", 0, TYPE, 0, numbers=(first, second), writes=True)
    join = invoke("assoc_add", 0, OTHER_TYPE, 0, 1, b"", numbers=(first, second), writes=True)
    return {
        "assoc_get": invoke("assoc_get", 0, TYPE, wanted, _ALWAYS, 0, numbers=(first, (at_wanted, _ID2))),
        "assoc_range": invoke("assoc_range", 0, TYPE, 0, _LIMIT, numbers=(first,)),
        "assoc_time_range": invoke("assoc_time_range", 0, TYPE, _ALWAYS, 0, _LIMIT, numbers=(first,)),
        "assoc_count": invoke("assoc_count", 0, TYPE, numbers=(first,)),
        "obj_get": invoke("obj_get", 0, numbers=(first,)),
        "assoc_add": invoke("assoc_add", 0, TYPE, 0, 1, b"", numbers=(first, second), writes=True),
        "assoc_delete": remove,
        "assoc_change_type": Operation("assoc_change_type", remove.payload, patches=remove.patches, writes=True, then=join),
        "obj_add": invoke("obj_add", TYPE, data, numbers=(), writes=True),
        "obj_update": invoke("obj_update", 0, data, numbers=(first,), writes=True),
        "obj_delete": invoke("obj_delete", 0, numbers=(first,), writes=True),
    }
