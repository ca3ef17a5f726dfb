"""Keep the prefixes of open sessions alive in their providers' prompt caches, where that pays."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pandas as pd

from beastmode.candidates import Candidate
from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Request
from features.joins import SERVING
from features.keepalive import TURNS, PrefixPrices, keep_alive, return_rates
from pipelines.files import write_whole
from pipelines.probe_calls import Caller, CallError, host_of, most, paid
from pipelines.probe_purse import Purse
from pipelines.warm_ledger import Ledger
from pipelines.warm_settings import WarmSettings

COLUMNS = ("request_id", "at", "purpose", "messages", "tenant", "session_id", "plan", "input_tokens", "status",
           "cache_tier")  # fmt: skip
ONE_TOKEN = {"max_tokens": 1}


@dataclass(frozen=True, slots=True)
class Due:
    """A prefix that dies before the next run and is worth a read."""

    session: str
    candidate: Candidate
    request: Request
    saving: float
    """Expected, in units of the prefix's plain input price."""


def due(
    rows: pd.DataFrame, candidates: Mapping[str, Candidate], read_at: Mapping[str, float], at: datetime,
    settings: WarmSettings,
) -> list[Due]:  # fmt: skip
    """Return the prefixes to read now; `rows` are the lake's with `COLUMNS`, `read_at` when each was kept alive last.

    A prefix lives for its candidate's time to live from the last turn or read, and is due where it would die within
    `keepalive_seconds`, the time to the next run. One that is dead is left so: to write it again costs what it saves.
    """
    keep = rows["purpose"].isin(SERVING) & rows["session_id"].notna() & rows["cache_tier"].isna()
    rows = rows[(keep & (rows["status"] == "success")).to_numpy(dtype=bool)]
    rows = rows.sort_values("at", kind="stable").drop_duplicates("request_id")
    moments = rows["at"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    sessions = pd.factorize(rows["session_id"])[0].astype(np.int64)
    turns = rows.groupby("session_id").cumcount().to_numpy()
    now, rates, found = at.timestamp(), {}, []
    last = ~rows["session_id"].duplicated(keep="last").to_numpy(dtype=bool)
    for place in np.flatnonzero(last).tolist():
        row = rows.iloc[place]
        candidate = candidates.get(str(row["plan"]))
        prices = None if candidate is None else PrefixPrices.of(candidate.price)
        if candidate is None or prices is None or not isinstance(row["messages"], str):
            continue
        ttl, began, session = candidate.cache_ttl_seconds, float(moments[place]), mark(str(row["session_id"]))
        dies = max(began, read_at.get(session, 0.0)) + ttl
        if (
            not now < dies <= now + settings.keepalive_seconds
            or not row["input_tokens"] >= candidate.cache_minimum_tokens
        ):
            continue
        if ttl not in rates:
            rates[ttl] = return_rates(sessions, moments, now, ttl, settings.keepalive_periods + 1)
        period = min(int((dies - began) / ttl), settings.keepalive_periods)
        decided = keep_alive(rates[ttl][min(int(turns[place]), TURNS - 1), period:], prices)
        if decided.reads:
            tenant = row["tenant"] if isinstance(row["tenant"], str) else None
            request = Request(tuple(json.loads(row["messages"])), tenant=tenant, session_id=str(row["session_id"]))
            found.append(Due(session, candidate, request, decided.saving))
    return sorted(found, key=lambda each: -each.saving)


def read_prefixes(
    found: list[Due], caller: Caller, purse: Purse, ledger: Ledger, journal: Journal, kept: Path, at: datetime
) -> int:
    """Read each prefix by an answer of one token, journalled as `warm` at its true cost; return how many were read."""
    done = recalled(kept)
    count = 0
    for each in found:
        reserve = most(each.candidate, each.request.messages, 1)
        if reserve is None or caller.lacks(each.candidate) is not None or not purse.reserve(reserve):
            continue
        key, cost, state = f"keepalive-{each.session}-{at.timestamp():.0f}", reserve, "failed"
        ledger.begin(key, reserve)
        decision = Decision(
            request=each.request, plan=Plan.single(each.candidate.name), probabilities={}, propensity=None,
            policy="keepalive", bundle_sha256=None, predictions=(), reason="the prefix would expire",
            endpoint=each.candidate.endpoint,
        )  # fmt: skip
        try:
            with journal.attempt(decision, purpose="warm") as attempt:
                attempt.about(host=host_of(each.candidate), key=each.candidate.api_key_env)
                answer = caller.chat(each.candidate, each.request.messages, ONE_TOKEN)
                counted = paid(each.candidate, answer.usage)
                cost, state = reserve if counted is None else counted, "filled"
                if answer.usage is not None:
                    attempt.usage(answer.usage)
                attempt.cost(cost, "catalogue")
            done[each.session], count = at.timestamp(), count + 1
        except CallError:
            cost = 0.0
        except (ValueError, OSError, HTTPException):
            # Journalled with its kind, and counted in full, for the provider may charge. The prefix dies, and its
            # session pays for a new one as ever.
            pass
        finally:
            purse.settle(reserve, cost)
            ledger.end(key, cost, state)
    lately = {name: moment for name, moment in done.items() if moment > at.timestamp() - 7 * 86_400}
    write_whole(kept, json.dumps(lately))
    return count


def recalled(kept: Path) -> dict[str, float]:
    """Return when each session's prefix was read last, by the session's mark."""
    return dict(json.loads(kept.read_text())) if kept.exists() else {}


def mark(session: str) -> str:
    """Return what stands for a session in files of ours."""
    return hashlib.sha256(f"session\0{session}".encode()).hexdigest()[:24]
