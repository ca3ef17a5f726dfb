"""Serve an answer again where everything that shapes it is equal: tiers, partitions, and one fill for everyone."""

from beastmode.cache.answer import Answer, CachedFailure
from beastmode.cache.cache import Cache
from beastmode.cache.entry import Entry, Snapshot
from beastmode.cache.graph import Graph
from beastmode.cache.guard import Health
from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.memory import Memory
from beastmode.cache.miss import Miss
from beastmode.cache.partition import Partition, Question
from beastmode.cache.remote import Redis
from beastmode.cache.semantic import Semantic, TextEncoder
from beastmode.cache.settings import CacheSettings
from beastmode.cache.sqlite import Sqlite
from beastmode.cache.streams import AsyncStream, Stream
from beastmode.cache.tiers import Shared, Tier
from beastmode.cache.vectors import Flat, Index
from beastmode.cache.verifiers import Cosine, Verifier
from beastmode.cache.worth import Worth, still_valid, worth

__all__ = [
    "Answer",
    "AsyncStream",
    "Cache",
    "CacheSettings",
    "CachedFailure",
    "Cosine",
    "Entry",
    "Flat",
    "Graph",
    "Health",
    "Index",
    "LearnedVerifier",
    "Memory",
    "Miss",
    "Partition",
    "Question",
    "Redis",
    "Semantic",
    "Shared",
    "Snapshot",
    "Sqlite",
    "Stream",
    "TextEncoder",
    "Tier",
    "Verifier",
    "Worth",
    "still_valid",
    "worth",
]
