"""Streams through the cache: passed on as they come and held when they are complete, or played again from a tier.

Where a canary asks, the stream is passed on when it is complete: what has been passed on could not be taken back, and
the answer that is held could not take its place, if the model failed on the way.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from beastmode.cache.answer import Answer
from beastmode.cache.filling import Fill, Filler
from beastmode.cache.looking import Ask
from beastmode.cache.miss import Lead, Miss, Tape
from beastmode.cache.steps import arun, run
from beastmode.errors import CacheError


class _Passage:
    """A stream on its way."""

    def __init__(self, filler: Filler, ask: Ask, fill: Fill) -> None:
        self.answer: Answer | None = None
        """The held answer where there is one; else the new one, once the stream is complete."""
        self._filler = filler
        self._ask = ask
        self._fill = fill
        self._lead: Lead | None = None
        self._source: Any = None
        self._tape = Tape(filler.looker.settings.max_entry_bytes)

    def _arrived(self, arrived: Answer | Lead) -> Lead | None:
        if isinstance(arrived, Answer):
            self.answer = arrived
            return None
        self._lead = arrived
        return arrived

    def _held(self) -> list[Any]:
        """Return the chunks of a held answer; one that came whole is one chunk."""
        assert self.answer is not None
        value = self.answer.value
        chunked = self.answer.entry is not None and self.answer.entry.kind == "chunks"
        return value if chunked else [value]

    def _spared(self, error: BaseException) -> bool:
        """Return whether a held answer takes the place of what failed."""
        self.answer = self._filler.spared(self._ask, error)
        return self.answer is not None

    def _left(self) -> Lead | None:
        lead, self._lead = self._lead, None
        return lead


class Stream(_Passage):
    """`with` it and iterate over its chunks; left before the end it is not held, and the next caller asks anew."""

    def __enter__(self) -> Self:
        lead = self._arrived(run(self._filler.arriving(self._ask, self._refresh)))
        if lead is not None:
            try:
                self._source = iter(self._fill(lead.miss))
            except BaseException as error:
                self._fail(error)
                if not self._spared(error):
                    raise
        return self

    def __iter__(self) -> Iterator[Any]:
        if self.answer is not None:
            yield from self._held()
            return
        lead = self._lead
        if lead is None:
            raise CacheError("this stream was not entered, or has been left; write `with cache.stream(...) as stream:`")
        if self._ask.canary is None:
            yield from self._passing(lead)
            return
        try:
            chunks = list(self._passing(lead))
        except Exception as error:
            if not self._spared(error):
                raise
            chunks = self._held()
        yield from chunks

    def _passing(self, lead: Lead) -> Iterator[Any]:
        while True:
            try:
                chunk = next(self._source)
            except StopIteration:
                break
            except BaseException as error:
                self._fail(error)
                raise
            _note(self._tape, lead.miss, chunk)
            yield chunk
        if self._left() is not None:
            self.answer = run(self._filler.keeping(self._ask, lead, self._tape))

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._lead is not None:
            self._fail(error or GeneratorExit("the stream was left before its end"))
            if hasattr(self._source, "close"):
                self._source.close()

    def _refresh(self, miss: Miss) -> Tape:
        """Return the whole stream, which nobody waits for: a stale one was played meanwhile."""
        tape = Tape(self._tape.most)
        for chunk in self._fill(miss):
            _note(tape, miss, chunk)
        return tape

    def _fail(self, error: BaseException) -> None:
        lead = self._left()
        if lead is not None:
            run(self._filler.failing(self._ask, lead, error))


class AsyncStream(_Passage):
    """The same for event loops: `async with` and `async for`; the fill is an async generator, or returns one."""

    async def __aenter__(self) -> Self:
        lead = self._arrived(await arun(self._filler.arriving(self._ask, self._refresh)))
        if lead is not None:
            try:
                source = self._fill(lead.miss)
                source = await source if hasattr(source, "__await__") else source
                self._source = source.__aiter__()
            except BaseException as error:
                await self._fail(error)
                if not self._spared(error):
                    raise
        return self

    async def __aiter__(self) -> AsyncIterator[Any]:
        if self.answer is not None:
            for chunk in self._held():
                yield chunk
            return
        lead = self._lead
        if lead is None:
            raise CacheError("this stream was not entered, or has been left; write `async with cache.astream(...)`")
        if self._ask.canary is None:
            async for chunk in self._passing(lead):
                yield chunk
            return
        try:
            chunks = [chunk async for chunk in self._passing(lead)]
        except Exception as error:
            if not self._spared(error):
                raise
            chunks = self._held()
        for chunk in chunks:
            yield chunk

    async def _passing(self, lead: Lead) -> AsyncIterator[Any]:
        while True:
            try:
                chunk = await self._source.__anext__()
            except StopAsyncIteration:
                break
            except BaseException as error:
                await self._fail(error)
                raise
            _note(self._tape, lead.miss, chunk)
            yield chunk
        if self._left() is not None:
            self.answer = await arun(self._filler.keeping(self._ask, lead, self._tape))

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._lead is not None:
            await self._fail(error or GeneratorExit("the stream was left before its end"))
            if hasattr(self._source, "aclose"):
                await self._source.aclose()

    async def _refresh(self, miss: Miss) -> Tape:
        tape = Tape(self._tape.most)
        source = self._fill(miss)
        async for chunk in await source if hasattr(source, "__await__") else source:
            _note(tape, miss, chunk)
        return tape

    async def _fail(self, error: BaseException) -> None:
        lead = self._left()
        if lead is not None:
            await arun(self._filler.failing(self._ask, lead, error))


def _note(tape: Tape, miss: Miss, chunk: Any) -> None:
    miss.attempt.first_token()
    tape.take(chunk)
