"""Threads joined by bounded queues, where an error is as much a message as an item.

    source threads --> Channel --> the caller's loop --> Channel --> sink threads

A channel ends with an end mark, when its last producer has ended, or with the error that ended
one of them; the consumer gets every item put before it, then the end or the error. A consumer
that dies cancels its channel, so that a producer waiting for room is woken. `Stages` starts the
threads and, at the end of its block, joins every one of them, whatever happened.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import Enum, auto
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

T = TypeVar("T")

# Waits are cut into pieces this long because on Windows a thread that waits for a lock
# does not see Ctrl-C.
_POLL_SECONDS = 0.2


class Nothing(Enum):
    """What a channel gives where it has no item."""

    NOTHING_YET = auto()
    ENDED = auto()


class Cancelled(Exception):
    """The other side of a channel is gone; whoever gets this stops without a word."""


class _Cancellable(Protocol):
    def cancel(self) -> None: ...


class Channel(Generic[T]):
    """A queue of at most `depth` items that carries an end mark and errors."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Wait for room and add `item`.

        Raises Cancelled when nobody will take it, or when another producer has failed.
        """
        with self._changed:
            while len(self._items) >= self._depth and not (self._cancelled or self._ended):
                self._changed.wait(_POLL_SECONDS)
            if self._cancelled or self._ended:
                raise Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; `error` is raised at the consumer behind the last item."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drop what waits and wake both sides, which get Cancelled."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def take(self, *, wait: bool = True) -> T | Nothing:
        """The next item, or ENDED behind the last one.

        Where none is there, it is waited for, or the answer is NOTHING_YET, as `wait` says. Raises the producer's error behind the last item, or Cancelled.
        """
        with self._changed:
            while wait and not (self._items or self._ended or self._cancelled):
                self._changed.wait(_POLL_SECONDS)
            if self._cancelled:
                raise Cancelled
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if not self._ended:
                return Nothing.NOTHING_YET
            if self._error is not None:
                raise self._error
            return Nothing.ENDED

    def __iter__(self) -> Iterator[T]:
        """Items in order. Raises the producer's error behind the last, or Cancelled."""
        while not isinstance(item := self.take(), Nothing):
            yield item


class ByteGate:
    """Lets at most `limit` bytes of frames into the stream; a larger one goes in alone.

    First come, first in: where several threads read, small frames do not keep a large one waiting
    for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._cancelled = False
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def held(self) -> int:
        """Bytes inside now."""
        return self._held

    def enter(self, amount: int) -> None:
        """Wait until `amount` bytes have room. Raises Cancelled when the stream is over."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._cancelled and (
                    self._waiting[0] is not ticket
                    or (self._held and self._held + amount > self._limit)
                ):
                    self._changed.wait(_POLL_SECONDS)
                if self._cancelled:
                    raise Cancelled
                self._held += amount
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def leave(self, amount: int) -> None:
        """`amount` bytes are free again."""
        with self._changed:
            self._held -= amount
            self._changed.notify_all()

    def cancel(self) -> None:
        """Wake whoever waits; it gets Cancelled."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()


class Stages:
    """The threads of one stream, as a context manager.

    Leaving the block without an error lets the sinks finish what waits for them; leaving
    it with one cancels everything. Either way every thread has ended afterwards, and a
    sink's own error is what is raised.
    """

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._sources: list[_Cancellable] = []
        self._sinks: list[Channel[object]] = []
        self._errors: list[BaseException] = []

    def guard(self, waiting: _Cancellable) -> None:
        """Cancel `waiting`, too, when the sources are stopped."""
        self._sources.append(waiting)

    def source(
        self, name: str, produce: Callable[[], Iterable[T]], depth: int, threads: int = 1
    ) -> Channel[T]:
        """Threads that put what `produce()`, called by each, yields into the returned channel."""
        channel: Channel[T] = Channel(depth)
        left = threads
        counting = threading.Lock()

        def end() -> None:
            nonlocal left
            with counting:
                left -= 1
                if left == 0:
                    channel.end()

        def run() -> None:
            items: Iterable[T] | None = None
            try:
                items = produce()
                for item in items:
                    channel.put(item)
            except Cancelled:
                pass
            except BaseException as exc:  # handed over, not swallowed
                channel.end(exc)
            else:
                end()
            finally:
                if isinstance(items, Generator):
                    items.close()  # its `with` blocks end in this thread, now

        self._sources.append(channel)
        self._start(name, run, threads)
        return channel

    def sink(
        self, name: str, work: Callable[[T], None], depth: int, threads: int = 1
    ) -> Channel[T]:
        """Threads that call `work` with every item put into the channel that is returned."""
        channel: Channel[T] = Channel(depth)

        def run() -> None:
            try:
                for item in channel:
                    work(item)
            except Cancelled:
                pass
            except BaseException as exc:  # raised by __exit__
                self._errors.append(exc)
                channel.cancel()

        self._sinks.append(channel)  # type: ignore[arg-type]  # only ended and cancelled
        self._start(name, run, threads)
        return channel

    def _start(self, name: str, run: Callable[[], None], threads: int) -> None:
        for number in range(1, threads + 1):
            thread = threading.Thread(target=run, name=f"hptl-{name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for source in self._sources:
            source.cancel()
        for sink in self._sinks:
            if error is None:
                sink.end()
            else:
                sink.cancel()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_POLL_SECONDS)
        if self._errors and (error is None or isinstance(error, Cancelled)):
            raise self._errors[0]
