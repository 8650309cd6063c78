"""Every limit of the system, in one place.

Sizes are bytes unless the name says otherwise. An operator may change the fields of
:class:`splinter.server.config.ServerConfig`, whose defaults come from here. A layout that several processes (or the XDP
program) share fixes the other limits.
"""

# --- tenants -------------------------------------------------------------------------------------------------------
TENANTS_MAX = 16384  # ids 1 … TENANTS_MAX - 1; 0 is never a tenant
PACKETS_PER_SECOND_MAX = 10_000_000  # a tenant's limit is at most this: intervals are whole nanoseconds
RATE_BURST_NS = 20_000_000  # a tenant may send at once what its limit allows in this time
RATE_BURST_PACKETS = 64  # or this many packets, if that is more
HOMES_ELSEWHERE_MAX = 1024  # UDP transport: tenants whose home is not id modulo cores
TENANT_QUOTA_BYTES_DEFAULT = 1 << 62  # no quota unless one is set

# --- tables, keys, values --------------------------------------------------------------------------------------------
TABLES_MAX = 0xFF00  # tables 0 … TABLES_MAX - 1 belong to the tenant
TABLE_EXTENSIONS = 0xFFFF  # the system's table: a tenant's installed extensions, by name
TABLE_ROSTER = 0xFFFD  # the system's table: where a tenant's keys are, for going over them; charged to the tenant
TABLE_CLIENTS = 0xFFFE  # the system's table: what was answered to a tenant's clients, charged to the tenant
TABLE_PARTS = 0xFFFC  # the system's table: the parts of a tenant's large values
KEY_BYTES_MAX = 255
VALUE_BYTES_MAX = 65536  # of an object in one piece, as extensions read and write them
LARGE_BYTES_MAX = 8 << 20  # of a value in parts
PART_BYTES = 64_000  # of a large value in each part but the last: two of them fill a slab, however they are cut into fragments
PARTS_MAX = -(-LARGE_BYTES_MAX // PART_BYTES)
PART_NS = 60_000_000_000  # that a part is kept after it was put, if no object names it
EXTENSION_NAME_BYTES_MAX = 64

# --- packets ---------------------------------------------------------------------------------------------------------
PORT_DEFAULT = 7171  # UDP for requests, TCP for control
MTU = 1500  # where the device has a greater one, packets are not larger
MTU_MIN = 576  # what every IPv4 host takes (RFC 791)
UDP_PAYLOAD_BYTES_MAX = MTU - 20 - 8  # 1472: IPv4 without options, UDP
REQUEST_HEADER_BYTES = 64
PACKET_BODY_BYTES_MAX = UDP_PAYLOAD_BYTES_MAX - REQUEST_HEADER_BYTES  # 1408: key and value of one packet
UDP_PAYLOAD_BYTES_MIN = MTU_MIN - 20 - 8  # 548: nobody's largest packet is smaller
ROOM_UNIT_BYTES = 8  # in which requests tell how large a reply, or a fragment of their value, may be
FRAGMENT_BYTES = 1152  # value bytes in each fragment but the last; leaves room for a key of 255 bytes
FRAGMENT_BYTES_MIN = 224  # the same on a network with MTU_MIN
FRAGMENTS_MAX = -(-VALUE_BYTES_MAX // FRAGMENT_BYTES_MIN)  # 293; of FRAGMENT_BYTES each, 57
MULTIGET_KEYS_MAX = 128

# --- AF_XDP ------------------------------------------------------------------------------------------------------------
CHUNK_BYTES = 2048  # one UMEM chunk holds one packet
CHUNKS_PER_QUEUE = 2048
RING_ENTRIES = 2048  # RX and TX ring of each socket; fill and completion ring of each queue
QUEUES_MAX = 16
DEVICE_WAIT_SECONDS = 60  # that the served device may be gone before the server ends
DEVICE_WAIT_SECONDS_MAX = 7 * 86400
DEVICE_ADDRESSES_MAX = 1024  # of the served device: IPv4 addresses with their broadcast addresses, MAC addresses
TX_KICK_BATCH = 32  # descriptors the kernel takes in one sendto() on a copy-mode device

# --- workers ------------------------------------------------------------------------------------------------------------
WORKERS_MAX = 64
PARTICIPANTS_MAX = WORKERS_MAX + 1  # workers and the control process write the store
PARTICIPANT_CONTROL = WORKERS_MAX
RX_BATCH = 64
BATCH_US = 50  # where siblings steal, a batch takes no more packets than are expected to take so long
IDLE_SPIN_NS = 100_000  # an idle worker spins this long before it sleeps in poll()
IDLE_POLL_MS = 100  # and wakes at least this often
STEAL_PACKETS_MIN = 4  # packets waiting in a sibling's RX ring that an idle worker takes some of at once
STEAL_PACKETS_MAX = 16  # that it takes at a time: as long as its own packets may have to wait for them
STEAL_WAIT_NS = 10_000  # fewer packets are taken when they have waited this long
STEAL_LOOKS = 8  # siblings' rings that an idle worker looks at in one turn
SIBLING_BUSY_US = 10  # a worker does not sleep while a sibling has been at one thing for so long
WAKE_BACKLOG = 16  # packets still waiting after a batch: wake a sibling
STEER_AWAY_MAX = 1024  # RX ring entries are more than that
WATCH_MS = 1  # a sleeping worker looks at its siblings' rings this often while one of them is awake
REST_MS = 10  # and this often while all sleep
TASKS_PER_WORKER = 512
TASKS_PER_TENANT = 128  # that wait in one worker: so one tenant's do not keep all others from having any
FRAME_BYTES = 4096  # one task's frame: fixed header and locals
EXTENSION_OBJECT_BYTES_MAX = 16_380  # code of an extension for the kernel, an ELF file; kept, and charged at this length
BLOCK_BYTES = 32  # that keys, values and packets are read by
KEY_AREA_BYTES = BLOCK_BYTES + 256  # that the XDP program keeps a key in, behind a block of whatever content
EXTENSION_SCRATCH_BYTES = 16_392  # that an extension in the kernel works on, its frame among them; of each CPU
COMMIT_OBJECTS_MAX = 128  # objects that one commit may write or delete, and the reply that it keeps
TRANSACTION_READS_MAX = 1024  # look-ups of one transaction that may write
TRANSACTION_WRITES_MAX = COMMIT_OBJECTS_MAX - 1  # objects that one puts or deletes; its reply may be kept beside them
TRANSACTION_BYTES_MAX = 98_304  # of all its puts and deletes: key, value and 32 bytes for each
CONFLICTS_MAX = 8  # times that a transaction is begun anew before other writers of its tenant are held back for it

# --- watchdog ---------------------------------------------------------------------------------------------------------------
WATCHDOG_MS = 10  # a heartbeat older than this is stale
WATCHDOG_MS_MIN = 5  # what may be set
WATCHDOG_MS_MAX = 60_000
WATCHDOG_SCAN_MS = 2  # between two looks at the heartbeats
TASK_RESTARTS_MAX = 1  # times a task is begun anew because its worker died; it is blamed for the next death
QUARANTINE_AFTER = 3  # workers that an extension may get killed before it is refused
SPARES_PER_WORKER = 4  # processes kept ready to become a worker
SPARES_MAX = 16  # of all workers

# --- extensions ------------------------------------------------------------------------------------------------------------
SOURCE_BYTES_MAX = 64 * 1024
SOURCE_NODES_MAX = 20_000  # nodes of the syntax tree
EXPRESSION_DEPTH_MAX = 100  # levels of the syntax tree, statements included
LOOP_DEPTH_MAX = 20  # loops within loops of one function: CPython has no more either
HELPER_DEPTH_MAX = 150  # the same of a helper function, with what it calls put in place: lowering is a recursion over both
INSTRUCTIONS_MAX = 8_000  # of the intermediate code, spills at yields included: bounds the compiler's time
TOGETHER_INSTRUCTIONS_MAX = 16_000  # of all extensions that are compiled together
LOWERING_STEPS_MAX = 64_000  # of them too: instructions, and each statement, expression, block or call, if none comes of it
THOROUGH_INSTRUCTIONS_MAX = 1_000  # that LLVM optimizes, for which its time is quadratic; what is beyond is compiled quickly
COMPILE_SECONDS_MAX = 5.0  # CPU time to compile one source
COMPILE_QUICK_SECONDS = 0.5  # of it, before others that wait: then a source goes on in the slow lane
COMPILE_HALF_LIFE_SECONDS = 60.0  # of the CPU time that a tenant's compiling is remembered by
COMPILE_WAIT_SECONDS = 10.0  # that a tenant's sources may not take long after one ran out of time; doubles each time
COMPILE_WAIT_SECONDS_MAX = 600.0  # and is at most this; a source that ran out of time is refused at once for so long
COMPILE_WAITING_MAX = 64  # sources in the slow lane; of more, that of the tenant that used most is told to come later
COMPILE_REFUSED_KEPT = 4096  # sources that ran out of time, and tenants whose sources did, that are remembered
COMPILE_WALL_SECONDS_MAX = 120  # that may pass meanwhile: with its niceness the compiler may get a tenth of a core
COMPILE_MEMORY_BYTES_MAX = 512 << 20  # of address space, beyond what the compiler has at its start
EXTENSION_PARAMETERS_MAX = 16
EXTENSION_RESULTS_TOLD = 16  # of a tuple's results; one with more is not called by the Redis protocol
CODE_BYTES_MAX = 256 * 1024  # machine code of an extension, or of several that are compiled together
CODE_REGION_BYTES = 64 << 20  # machine code of all of them
CODE_BYTES_PER_TENANT_MAX = 16 << 20  # of it one tenant may have, what is replaced and may still run included
EXTENSIONS_MAX = 65536  # installed at once, of all tenants: slots of counters
LOG_ENTRIES = 1024  # of the extensions' debug log, for each worker
LOG_TEXT_BYTES_MAX = 232  # of one entry
TASK_BUDGET = 4096  # what a task may spend before it yields by itself, a loop's back-edge 1: 2 to 4 µs
TASK_BUDGET_MAX = 1 << 19  # to which an operator may set it
HELPER_COST = 512  # what one get, put or delete takes from the budget: 8 of them take 0.7 µs from the L3 cache, 3 from memory
INSTRUCTIONS_PER_COST = 8  # of a loop's body: each turn takes 1 from the budget for so many, and 1
BYTES_PER_COST = 8  # compared, copied, cleared or put: 1 from the budget for so many
DIGESTED_BYTES_PER_COST = 2  # by crc32 and hash64
DIGEST_PIECE_BYTES = 4096  # between two looks at the budget
CHECKPOINT_COST = 4096  # that straight-line code may have spent before it looks whether the budget is gone
TASK_YIELDS_MAX = 10_000_000  # resumes of one task that may end in a yield; then it ends with EXTENSION_ERROR
TASK_PUT_BYTES_MAX = 8 << 20  # key, value and header of all puts of one task: what it replaces stays until it has ended
TASK_WALL_MILLISECONDS_MAX = 10_000  # since it came, its waits included; likewise: what it has read holds memory until then
TASK_MILLISECONDS_MAX = 500  # CPU time of one task; then it ends with EXTENSION_ERROR, before most clients give up

# --- store ------------------------------------------------------------------------------------------------------------------
STORE_BYTES_DEFAULT = 1 << 30
STORE_BYTES_MIN = 16 << 20
STORE_BYTES_MAX = 64 << 30  # what 32 bits reach in 16-byte units
SERVER_BYTES_BESIDE_STORE = 192 << 20  # that a server needs beside its store, for its programs and compilers
SERVER_BYTES_PER_WORKER = 80 << 20  # and for each worker: 61 MiB of it when each task has noted as much as it may
OPEN_FILES_MAX = 16384  # descriptors that a server asks the system for; it needs a few for each worker, queue, connection
SLAB_BYTES = 128 * 1024
OBJECT_HEADER_BYTES = 32  # of each object, in front of its key
BUCKET_BYTES = 64
BUCKET_ENTRIES = 7
CHAIN_BUCKETS_MAX = 8  # a look-up visits at most this many buckets, so that it can be bounded in BPF
STAGING_ENTRIES = 64  # fragmented puts under way in each worker
STAGING_ENTRIES_PER_TENANT = 16  # of them one tenant may have, while others need none
STAGING_TURN_NS = 50_000_000  # where each entry is another tenant's, one so old gives way to a tenant that has none
STAGING_FREE_BYTES = 128 * 1024  # that a tenant may stage beside its quota: one value of any size
MAGAZINE_SLOTS_MAX = 64  # free slots of one class that move between a worker and the shared lists at once
SLABS_RESERVE_SHARE = 64  # below one of so many slabs that may be given out, others are emptied for it
DRAINING_SLABS_MAX = 8  # slabs that are emptied at a time, all of one size class
DRAIN_NS_MAX = 1_000_000_000  # what is not empty by then is used again as it is
COMPACT_LOOKS = 64  # slabs that one turn looks at to find some to empty
COMPACT_SLOTS = 512  # slots that one turn looks at to find objects to move
COMPACT_BYTES = 65536  # that one turn moves, and one object
COMPACT_PAUSE_NS = 1_000_000  # between two walks over the slabs that are emptied
BUCKETS_RESERVE_SHARE = 8  # below one of so many overflow buckets that may be given out, empty ones are given back
BUCKETS_LEAVING_MAX = 32  # overflow buckets that wait at a time until no reader stands in them
BUCKETS_LOOKS = 32  # chains that one turn looks at to find empty overflow buckets
SWEEP_SLOTS = 256  # that a worker looks at, between two pauses, to find objects that have expired
SWEEP_SLOTS_IDLE = 8192  # the same before it sleeps
SWEEP_OBJECTS = 32  # of them, how many it deletes
SWEEP_SLABS = 64  # that it looks at, however few slots they have
SWEEP_PAUSE_NS = 1_000_000
ROOM_POSITIONS = 1024  # of a tenant's roster that a put looks at, which the quota refuses, for objects that have expired
ROSTER_LOOKS = 8  # chunks of a tenant's roster that an insert looks at for a hole, before it makes a new one
EVICTION_LOOKS = 16  # objects of a tenant that are looked at for each one that is evicted
EVICTION_POSITIONS = 1024  # of its roster that this takes at most, holes included
EVICTION_OBJECTS = 64  # that one put evicts at most, before it is answered BUSY
TTL_NS_MAX = 100 * 366 * 86_400 * 1_000_000_000  # that an object may be given to live; with the clock it fits 63 bits
RECLAIM_SLOTS_MAX = 64  # retired slots that an allocation tries to get back before it asks for new memory
JOURNAL_WORDS_MAX = 16  # words that one step of a writer changes
LIMBO_SHARE = 4  # one part of so many of the slabs may wait for tasks to end; then the oldest give way
LIMBO_SHARE_SCARCE = 32  # likewise, where fewer slabs are unused than one in SLABS_SCARCE
SLABS_SCARCE = 16
BLOCKED_TURNS = 16  # turns in a row that freed nothing because of an old epoch: until then it may be a turn that is long
CLIENT_WINDOW = 120  # sequence numbers of one client that may be open at once, for each of which a result is kept
CLIENTS_PER_TENANT_MAX = 4096  # clients of one tenant whose results are kept
CLIENTS_OVER_QUOTA_MAX = 16  # of them those that a tenant may have though its quota is used up: they are to make room
CLIENT_IDLE_NS_MAX = 60_000_000_000  # a client that has asked for nothing for so long is forgotten
CLIENT_KEPT_NS_MIN = 1_000_000_000  # a client that asked so lately does not give way to another one
CLIENT_ORDER_NS = 500_000_000  # a client's place in the order of last use is that exact
CLIENT_EXPIRE_STEPS = 8  # clients that are forgotten in a row
DELETIONS = 256  # of a tenant that are remembered for readers of an older snapshot
SNAPSHOT_STEPS_MAX = 1024  # older objects of a key that a reader of a snapshot goes back over: 0.1 to 0.2 ms
ADD_TRIES_MAX = 100  # a counter that another writer changes at the same time is read again
INSERT_TRIES_MAX = 1000  # an insert that loses an empty index entry to another writer looks for the next one
STAGING_AGE_NS_MAX = 10_000_000_000  # a fragmented put that is not whole by then may be dropped
STORE_LOCK_SPINS_MAX = 1_000_000  # for the shared free lists, which are held for a few stores: about 30 ms
SCAN_POSITIONS = 512  # of a tenant's roster that one SCAN looks at
SCAN_BUCKETS_MAX = 65536  # main buckets that one call of a scan looks at
TENANT_LOCK_SPINS_MAX = 2_000_000  # about 60 ms: longer than it takes to restart a dead holder

# --- durability -------------------------------------------------------------------------------------------------------------
LOG_RING_BYTES = 16 << 20  # of changes that a participant has made and that are not on disk yet; a power of two
LOG_SEGMENT_BYTES = 64 << 20  # of one file of the log; a group of changes is at most as long
LOG_GROUP_BYTES_MAX = 4 << 20  # that are taken from one ring for a group
SNAPSHOT_GROUP_BYTES = 1 << 20  # of copied objects that are written, and read, at a time
SNAPSHOT_SYNC_BYTES = 8 << 20  # of a snapshot that may wait for the disk
LOG_BYTES_MIN = 256 << 20  # of changes since the last snapshot, or twice as many as that has, before the next one is taken
LOG_REST_MS = 50  # that changes nobody waits for may wait for more
LOG_WAKE_BYTES = 2 << 20  # of a worker's changes that do not wait any longer
LOG_STANDS_MS = 800  # that nothing has come to the disk, before writes wait: "interval" loses a second at most
HELD_MAX = 960  # replies that a worker holds back until the disk has caught up: two leave a queue some chunks
HELD_PER_TENANT = 832  # of them one tenant may have
BACKUP_HOLD_SECONDS = 60  # that log and snapshots stay where they are after a backup was last heard of
BACKUP_GRACE_SECONDS = 5  # the same when its connection has ended: it may connect again
BACKUP_ANSWER_SECONDS = 60  # that a backup waits until all that was acknowledged is on the disk
LOG_ROOM_BYTES = 1 << 20  # that are left in it before a tenant's write begins: for it, and for what the system does meanwhile

# --- control plane ------------------------------------------------------------------------------------------------------------
CONTROL_MESSAGE_BYTES_MAX = 1 << 20
CONTROL_REPLY_BYTES_MAX = 9 << 20  # of a reply: to a dump it tells a large value as a whole
CONTROL_CONNECTIONS_MAX = 256  # of tenants
CONTROL_CONNECTIONS_PER_TENANT_MAX = 64
CONTROL_ADMINISTRATORS_MAX = 32  # connections of the administrator, which nobody else can take
CONTROL_STRANGERS_MAX = 64  # connections that have not shown a credential or token yet
CONTROL_STRANGER_SECONDS = 5  # after which one that has not is ended
CONTROL_STRANGER_MESSAGE_BYTES_MAX = 4096  # that it may send in one message
CONTROL_BACKLOG = 1024  # connections that the kernel keeps until they are taken
CONTROL_FAREWELL_SECONDS = 1  # that a last message may take to be sent
CONTROL_NICENESS = 10  # of the control process: a tenth of a worker's share of a core that both want
METRICS_SECONDS = 3  # that the control process and the metrics process wait for each other
METRICS_SECONDS_MIN = 1.0  # between two looks at the counters; who asks sooner gets the same numbers again
METRICS_CONNECTIONS_MAX = 16  # to the metrics endpoint at a time; one more ends the oldest
METRICS_CONNECTION_SECONDS = 10  # that a connection to it may last
METRICS_MOST = 100  # tenants, and extensions, that have series of their own
METRICS_MOST_MAX = 2048
CONTROL_IDLE_SECONDS = 300
BALANCE_SECONDS = 0.5  # between two looks of the balancer at the tenants' loads
BALANCE_LOOKS = 4  # in a row that must find cores uneven before a tenant is moved
BALANCE_GAP = 0.2  # of a core's time, between the busiest and the idlest, is uneven
BALANCE_MOVES_MAX = 8  # tenants moved at a time
BALANCE_REST_SECONDS = 10.0  # that a moved tenant stays where it is
TENANTS_PER_MESSAGE_MAX = 2048  # that one control message describes
RETIRED_TOKENS_MAX = 4096  # tokens that were valid once, of which the control process remembers what became of them
EXTENSION_EVENTS_MAX = 1024  # installs and uninstalls of a tenant, the last ones, that a data folder keeps
EXTENSIONS_PER_TENANT_MAX = 256
DUMP_PIECE_BYTES = (
    448 << 10
)  # of objects in a step of a message, which has less than two of these; a chain that has more is split
DUMP_BUCKETS = 4096  # main buckets of the index that are looked at in one step, under an epoch: about a millisecond
DUMP_MESSAGE_SECONDS = 0.05  # that one message may look at them for; other requests go on between the steps
DUMP_VALUE_TRIES = 100  # looks at a large value whose parts went while it was looked at, before it is left out
DUMP_WAIT_SECONDS = 10  # that a message waits for a commit to be finished, the disk to catch up, a tenant's lock
DUMP_LINE_BYTES_MAX = 1 << 20  # of a line of a dump: the longest value takes 393,216 where each byte is escaped
RESTORE_OBJECTS = 256  # that are put in one step
RESTORE_PIECE_BYTES = 448 << 10  # of objects that a restore sends in one message
RESTORE_WAITING_BYTES = 8 << 20  # of objects of all tenants that it keeps until a message is full
EXTENSION_METADATA_BYTES_MAX = 2048  # signature and what else the control plane keeps with an extension

# --- the Redis protocol (of each worker) -----------------------------------------------------------------------------------
RESP_CONNECTIONS_MAX = 4096
RESP_CONNECTIONS_PER_TENANT_MAX = 1024
RESP_STRANGERS_MAX = 256  # connections that have not shown a tenant's token yet; one more ends the oldest
RESP_STRANGER_SECONDS = 10  # after which one that has not is ended
RESP_STRANGER_ARGUMENTS_MAX = 10  # that its commands may have
RESP_STRANGER_BYTES_MAX = 4096  # of each of these
RESP_BACKLOG = 1024  # connections that the kernel keeps until a worker takes them
RESP_KEEPALIVE_SECONDS = 300  # of silence, after which a connection's other end is asked whether it is there
RESP_RECEIVE_BYTES = 16384  # that one connection is read at a time
RESP_RECEIVE_MORE_BYTES = 262_144  # the same of one whose command is known to be longer
RESP_PARTS = 16  # of a large value that are put in one turn
RESP_COMMANDS_AHEAD = 32  # of one connection that are parsed, and whose keys are looked for, before the first is executed
RESP_ARGUMENTS_MAX = 65536  # of one command
RESP_COMMAND_BYTES_MAX = LARGE_BYTES_MAX + (1 << 20)  # of one command
RESP_QUEUED_BYTES_MAX = 1 << 20  # of all that a MULTI queues
RESP_INLINE_BYTES_MAX = 65536  # of a command that is typed as a line
RESP_REPLY_BYTES_MAX = LARGE_BYTES_MAX + (1 << 20)  # of one command
RESP_FLUSH_BYTES = 65536  # of replies that are sent before more commands of a connection are executed
RESP_TENANT_BYTES_MAX = 64 << 20  # of a tenant's commands that are half sent, and of replies that it does not read
RESP_SHARE_BYTES = 1 << 20  # that a tenant may have of them though there are more than half as many as may be
RESP_BYTES_MAX = 512 << 20  # of all tenants
RESP_UNREAD_SECONDS = 60  # that replies may stay unread before their connection is ended
RESP_ASKS_PER_TENANT = 2  # of each worker's connections, what only the control process can do, at a time
RESP_EXEC_BUDGET = 1 << 19  # what all functions that one EXEC calls may spend, a loop's back-edge 1: some 0.4 ms
RESP_WATCHED_MAX = 1000  # keys that one connection watches
RESP_WAIT_NS = 5_000_000_000  # that a command may wait for a lock, memory or the disk, before it is answered with BUSY
RESP_WALK_POSITIONS = 1024  # of a tenant's roster that KEYS, DBSIZE and FLUSHDB look at in one turn
RESP_SCAN_POSITIONS_MAX = 4096  # that one SCAN looks at, whatever its COUNT
RESP_NAME_BYTES_MAX = 64  # of a connection's name
