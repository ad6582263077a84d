"""Work of several threads in the order in which it was asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")


def in_order(calls: Iterable[Callable[[], T]], pool: Executor, ahead: int) -> Iterator[T]:
    """Yield what each of `calls` returns, or raise what it raises, while `pool` is at most `ahead` of them ahead."""
    pending: deque[Future[T]] = deque()
    for call in calls:
        pending.append(pool.submit(call))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
