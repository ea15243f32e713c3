"""Work done ahead in threads, with its results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(tasks: Iterable[Callable[[], T]], threads: int, ahead: int) -> Generator[T, None, None]:
    """The results of `tasks`, in order; up to `ahead` later ones are under way, which bounds the memory they take.

    Waiting tasks are dropped when the iterator is closed or one of them raises.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="eyas")
    try:
        pending: deque[Future[T]] = deque()
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
