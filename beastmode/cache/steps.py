"""One course of a fetch for threads and for event loops: it yields what has to be waited for, and a driver waits."""

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, TypeVar

from beastmode.cache.flights import Flight

T = TypeVar("T")
Steps = Generator[Any, Any, T]

LATE = object()
"""What a `Join` brings when the time is up."""


@dataclass(frozen=True, slots=True)
class Block:
    """Call what reads a disk or a socket."""

    act: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for another's fill, and bring its entry, its error or LATE."""

    flight: Flight
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Call the application's own function."""

    act: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Spawn:
    """Let another course go its way in the background."""

    steps: Steps[Any]


def run(steps: Steps[T]) -> T:
    """Go through a course in this thread."""
    return _drive(steps, _now)


def _drive(steps: Steps[T], do: Callable[[Any], Any]) -> T:
    try:
        step = next(steps)
        while True:
            try:
                result = do(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        result = done.value
    return result  # type: ignore[no-any-return]


def _now(step: Any) -> Any:
    if isinstance(step, Block | Call):
        return step.act()
    if isinstance(step, Pause):
        return time.sleep(step.seconds)
    if isinstance(step, Join):
        try:
            return step.flight.result(max(step.seconds, 0.0))
        except Late:
            # A fill may itself have raised a TimeoutError, which is the same class.
            if step.flight.done():
                raise
            return LATE
    thread = threading.Thread(target=_quietly, args=(step.steps,), name="beastmode-cache-refresh", daemon=True)
    return thread.start()


def _quietly(steps: Steps[Any]) -> None:
    try:
        run(steps)
    except Exception as error:
        _tell(error)


async def arun(steps: Steps[T]) -> T:
    """Go through a course in this task; what reads a disk or a socket runs in another thread."""
    try:
        step = next(steps)
        while True:
            try:
                result = await _later(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        result = done.value
    return result  # type: ignore[no-any-return]


async def _later(step: Any) -> Any:
    import asyncio

    if isinstance(step, Call):
        result = step.act()
        return await result if hasattr(result, "__await__") else result
    if isinstance(step, Block):
        return await _thread(step.act)
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    if isinstance(step, Join):
        waiting = asyncio.wrap_future(step.flight)
        try:
            done, _ = await asyncio.wait([waiting], timeout=max(step.seconds, 0.0))
            return waiting.result() if done else LATE
        finally:
            waiting.cancel()
    task = asyncio.get_running_loop().create_task(_aquietly(step.steps))
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return None


async def _thread(act: Callable[[], Any]) -> Any:
    """Return what `act` returns in a thread; a cancelled task still waits for it, so that its end is known."""
    import asyncio

    running = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _aquietly(steps: Steps[Any]) -> None:
    try:
        await arun(steps)
    except Exception as error:
        _tell(error)


def _tell(error: Exception) -> None:
    import logging

    logging.getLogger("beastmode").warning("cache: a refresh in the background failed: %s", error)


_TASKS: set[Any] = set()
"""Tasks under way, which an event loop by itself would let be collected."""
