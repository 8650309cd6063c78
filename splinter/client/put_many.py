"""Many objects put at once: batches pipelined over one channel.

What is there already (a list, a dictionary's items) goes many in a packet. What an iterator makes is sent before it is asked
for the next: that may take any time, or wait for what was made before to be stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from splinter.client.batch import Batched, packed, read_answers
from splinter.client.channel import Channel
from splinter.client.encoding import Key, Value, encode_key, encode_value
from splinter.client.flights import FRAGMENT_BITS, Reply, identity_of
from splinter.errors import RequestError, Status
from splinter.wire import BATCH_REQUESTS_MAX, Opcode


def put_many(
    channel: Channel,
    items: Iterable[tuple[Key, Value]],
    table: int,
    window: int,
    put_large: Callable[[bytes, bytes], object],
) -> int:
    """Put every (key, value), with up to ``window`` objects on their way; returns how many. What fits no batch goes through
    ``put_large``."""
    putting = _Putting(channel, items, table, window, put_large)
    for identity, reply in channel.stream(putting.produce, window, keeps_numbers=True):
        putting.settle(identity >> FRAGMENT_BITS, reply)
    return putting.count


class _Putting:
    """``count``: how many objects were taken from ``items``."""

    def __init__(
        self,
        channel: Channel,
        items: Iterable[tuple[Key, Value]],
        table: int,
        window: int,
        put_large: Callable[[bytes, bytes], object],
    ) -> None:
        self.count = 0
        self._channel, self._table, self._window, self._put_large = channel, table, window, put_large
        self._items = iter(items)
        self._held: Batched | None = None  # the next one, taken from the items
        self._most = min(max(window // 2, 1), BATCH_REQUESTS_MAX) if isinstance(items, Collection) else 1  # objects in a packet
        self._open = 0  # objects on their way
        self._keys: set[bytes] = set()  # of those
        self._packets: dict[int, list[Batched]] = {}  # on their way, by their first numbers
        self._left_out: deque[tuple[int, list[Batched]]] = deque()  # of what replies have no answer to, with its first number

    def produce(self) -> tuple[int, bytes] | None:
        """The next packet; None when there is none now."""
        if self._left_out:
            first, puts = self._left_out.popleft()
        else:
            puts = self._gather()
            if not puts:
                return None
            first = self._channel.next_sequences(len(puts))
            self._open += len(puts)
            self._keys.update(put.key for put in puts)
        self._packets[first] = puts
        return identity_of(first), self._channel.packet(Opcode.BATCH, first, 0, b"", packed(puts))

    def settle(self, first: int, reply: Reply) -> None:
        """A packet is answered, or some of it."""
        puts = self._packets.pop(first)
        try:
            answers = read_answers(reply, puts)
        except RequestError as error:
            raise self._noted(error, puts[0]) from None
        for put, answer in zip(puts, answers, strict=False):
            if answer.status != Status.OK:
                raise self._noted(answer.error(), put)
        count = len(answers)
        self._channel.close_numbers(range(first, first + count))
        self._open -= count
        self._keys.difference_update(put.key for put in puts[:count])
        if count < len(puts):
            self._keys.update(put.key for put in puts[count:])
            self._left_out.append((first + count, puts[count:]))

    def _gather(self) -> list[Batched]:
        """What the next packet has; nothing if it cannot be sent now. An object whose key is on its way waits for the answer,
        and all that come after it."""
        if self._most > min(self._window - self._open, self._channel.numbers_left):
            return []  # an answer makes room; a smaller packet now would leave room for smaller ones ever after
        puts: list[Batched] = []
        room = room_back = self._channel.size.body_bytes_max()
        while len(puts) < self._most and (put := self._next()) is not None and put.key not in self._keys:
            if not puts and not self._open:  # else the answer to somebody else's question will tell soon
                self._channel.learn(put.size)
                room = room_back = self._channel.size.body_bytes_max()
            if put.size > room or put.answer_size > room_back:
                if puts:
                    break
                self._take()
                self._put_large(put.key, put.value)
                continue
            room, room_back = room - put.size, room_back - put.answer_size
            puts.append(put)
            self._take()
        return puts

    def _next(self) -> Batched | None:
        """The next object, which stays the next one until it is taken; None: there is none."""
        if self._held is None:
            pair = next(self._items, None)
            if pair is not None:
                self._held = Batched(Opcode.PUT, self._table, encode_key(pair[0]), encode_value(pair[1]))
        return self._held

    def _take(self) -> None:
        self._held = None
        self.count += 1

    def _noted(self, error: RequestError, put: Batched) -> RequestError:
        error.add_note(f"while putting key {put.key!r} in table {self._table}")
        return error
