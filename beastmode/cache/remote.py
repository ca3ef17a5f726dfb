"""The second tier over machines: Redis or Valkey, a cluster included."""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from beastmode.cache.entry import Damaged, Entry, Snapshot
from beastmode.cache.tiers import RECALLS
from beastmode.errors import CacheError
from beastmode.forks import renew_after_fork

LONGEST_SECONDS = 1e9
"""An entry that would live for ever lives for thirty years."""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
_INVALIDATE = "redis.call('hset', KEYS[1], ARGV[2], redis.call('hincrby', KEYS[1], ARGV[1], 1))"
# The counts mean something in one life of the server's memory only: a restart may bring back older ones, and eviction
# may take them. So a life is named by the run of the server and by a random word that lives beside the counts.
_LOOK = """
redis.call('hsetnx', KEYS[1], 'incarnation', ARGV[1])
local run = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
return {run .. redis.call('hget', KEYS[1], 'incarnation'), redis.call('hmget', KEYS[1], unpack(ARGV, 2))}
"""
_COUNT = b"count"
# One sorted set by number, so that it is one key on a cluster too; a key that is recalled again counts as the latest.
_RECALL = """
local last = redis.call('zrevrange', KEYS[1], 0, 0, 'withscores')
redis.call('zadd', KEYS[1], (tonumber(last[2]) or 0) + 1, ARGV[1])
redis.call('zremrangebyrank', KEYS[1], 0, -1 - tonumber(ARGV[2]))
"""
_RECALLED = """
local last = redis.call('zrevrange', KEYS[1], 0, 0, 'withscores')
return {tonumber(last[2]) or 0, redis.call('zrangebyscore', KEYS[1], ARGV[1], '+inf')}
"""


class Redis:
    """Entries in a Redis or Valkey server, which evicts by its own `maxmemory`; expiry goes by the server's clock.

    Needs the extra `redis`. Safe for threads and forks.
    """

    name = "redis"

    def __init__(
        self, url: str, *, prefix: str = "beastmode:", timeout: float = 0.25, cluster: bool = False, **known: Any
    ) -> None:
        """Point at a server; nothing is opened until it is needed.

        `timeout` is in seconds, for connecting and for each answer; `known` goes to the client (password, ssl, ...).
        Raises CacheError where the library is missing.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise CacheError("Redis: the library is missing; pip install 'beastmode[redis]'") from error
        # One more attempt at once, for connections that a restart has cut; whatever lasts is for the circuit breaker.
        again = Retry(NoBackoff(), 1)
        options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": again, **known}
        kind: Any = redis.RedisCluster if cluster else redis.Redis
        # A client of one connection asks in two thirds of the time: its own pool polls a connection before each use.
        alone = {} if cluster else {"single_connection_client": True}
        self._make: Callable[[], Any] = lambda: kind.from_url(url, **alone, **options)
        self._idle: deque[Any] = deque()
        renew_after_fork(self)
        self._entries = prefix.encode() + b"e:"
        self._leases = prefix.encode() + b"l:"
        self._tags = prefix.encode() + b"tags"
        self._recalls = prefix.encode() + b"recalls"

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under a key, fresh or not, or None; what was not written here is removed."""
        data = self._ask(lambda client: client.get(self._entries + key))
        if data is None:
            return None
        try:
            return Entry.from_bytes(key, data)
        except Damaged:
            self.remove(key)
            return None

    def put(self, entry: Entry) -> Sequence[Entry]:
        """Hold an entry for as long as it may live."""
        # The server knows no infinity.
        lives = max(1, round(1000 * min(entry.stale_until - entry.made, LONGEST_SECONDS)))
        self._ask(lambda client: client.set(self._entries + entry.key, entry.to_bytes(), px=lives))
        return ()

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        self._ask(lambda client: client.delete(self._entries + key))

    def lease(self, key: bytes, owner: str, seconds: float, now: float) -> bool:
        """Return whether `owner` may fill the key; the time is the server's."""
        lasts = max(1, round(1000 * seconds))
        return bool(self._ask(lambda client: client.set(self._leases + key, owner, nx=True, px=lasts)))

    def release(self, key: bytes, owner: str) -> None:
        """Give a lease back, where it is still the owner's."""
        self._ask(lambda client: client.eval(_RELEASE, 1, self._leases + key, owner))

    def snapshot(self) -> Snapshot:
        """Return how many invalidations there were so far."""
        incarnation, (count,) = self._look([_COUNT])
        return Snapshot(incarnation, count)

    def invalidations(self, tags: Sequence[str]) -> tuple[str, list[int]]:
        """Return the server's incarnation, and of each tag the count at which it was invalidated last; 0 for never."""
        return self._look([_field(tag) for tag in tags])

    def invalidate(self, tag: str) -> None:
        """Count an invalidation of a tag."""
        self._ask(lambda client: client.eval(_INVALIDATE, 1, self._tags, _COUNT, _field(tag)))

    def recall(self, key: bytes) -> None:
        """Forget a key, and note it for the processes that may hold a copy."""
        self.remove(key)
        self._ask(lambda client: client.eval(_RECALL, 1, self._recalls, key, RECALLS))

    def recalled(self, since: int | None) -> tuple[int, Sequence[bytes] | None]:
        """Return how many recalls there were so far, and the keys after `since`; None where they are not known."""
        after = b"+inf" if since is None else b"(%d" % since
        count, keys = self._ask(lambda client: client.eval(_RECALLED, 1, self._recalls, after))
        # A server that lost its memory counts anew. Where the set is full, others may have been pushed out of it.
        if since is None or count <= since:
            return count, ()
        return count, (keys if len(keys) < RECALLS else None)

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        while self._idle:
            _close(self._idle.pop())

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._idle = deque()

    def _ask(self, act: Callable[[Any], Any]) -> Any:
        """Return what a client answers that nobody else uses meanwhile; one that failed is not used again."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._make()
        try:
            answer = act(client)
        except BaseException:
            # A signal may have come between question and answer: the next one to ask would get this one's.
            _close(client)
            raise
        self._idle.append(client)
        return answer

    def _look(self, fields: Sequence[bytes]) -> tuple[str, list[int]]:
        # One hash and one script, so that one answer holds it all, on a cluster too.
        asked = (_LOOK, 1, self._tags, secrets.token_hex(8), *fields)
        incarnation, counts = self._ask(lambda client: client.eval(*asked))
        return incarnation.decode(), [int(count or 0) for count in counts]


def _close(client: Any) -> None:
    client.close()
    if hasattr(client, "disconnect_connection_pools"):
        # A cluster's client leaves the connections to its nodes open.
        client.disconnect_connection_pools()


def _field(tag: str) -> bytes:
    return b"t:" + tag.encode("utf-8", "surrogatepass")
