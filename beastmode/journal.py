"""Write down what was decided and what came of it: every request, its failures first of all, exactly once."""

import atexit
import hashlib
import json
import logging
import os
import platform
import re
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beastmode.arms import CHALLENGER
from beastmode.errors import JournalError
from beastmode.forks import renew_after_fork
from beastmode.recording import Recording
from beastmode.records import Decision, new_id
from beastmode.validity import plain

_LOG = logging.getLogger("beastmode")

VERSION = 1
_JSON: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":"), "default": str, "allow_nan": False}
_LINE_ENDS = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


class Journal:
    """An append-only log in a folder: one file a process, one line an event, one write a line.

    Safe for threads and forks. Once it is open it never fails a request: what cannot be written is counted in `lost`
    and logged. A line that was cut by a full disk is closed by the next one, and readers report it.
    """

    _descriptor: int | None = None

    def __init__(self, path: str | Path, *, prompts: bool = True) -> None:
        """Open a journal in the folder `path`, which is made where it is missing.

        Without `prompts` the messages stay out of the log, and only their hash and length are kept. Raises
        JournalError where the folder cannot be written.
        """
        self.path = Path(path)
        self.prompts = prompts
        self.lost = 0
        """Events that could not be written."""
        # A signal's handler, or a generator that is collected, may write while its own thread does.
        self._lock = threading.RLock()
        self._open: dict[int, Recording] = {}
        self._torn = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Opened here so that a wrong path is an error at start, not a loss at the first request.
            self._reopen()
        except OSError as error:
            raise JournalError(f"journal {self.path}: {error}; name a folder that this process may write") from error
        renew_after_fork(self)
        _end_at_exit(self)

    def attempt(self, decision: Decision, *, purpose: str = "serve", parent: str | None = None) -> Recording:
        """Return the context manager, for `with` and `async with`, inside which the decision's model is called.

        One a decision: further calls are its `retry`, for the lake takes a second attempt for a copy of the first.
        `purpose` is serve, probe, judge, shadow, canary or warm; `parent` names the request that a probe repeats.
        """
        return Recording(self, decision, purpose=purpose, parent=parent)

    def feedback(
        self,
        request_id: str,
        signal: str,
        value: float,
        *,
        source: str | None = None,
        at: datetime | None = None,
        supersedes: str | None = None,
    ) -> None:
        """Record a later word on a request's quality, in [0, 1]; raises ValueError outside of it."""
        if not 0 <= value <= 1:
            raise ValueError(f"feedback: value = {value!r} must lie in [0, 1]; scale it before it is recorded")
        now = datetime.now(UTC)
        if at is not None and at.tzinfo is None:
            raise ValueError(f"feedback: at = {at.isoformat()} has no time zone; pass an aware datetime")
        event = {
            "kind": "feedback", "v": VERSION, "request_id": request_id, "signal": signal, "value": float(value),
            "at": (at or now).isoformat(), "received_at": now.isoformat(), "source": source, "supersedes": supersedes,
        }  # fmt: skip
        self.write({name: value for name, value in event.items() if value is not None})

    def begin(self, recording: Recording) -> None:
        """Write the line of a call that begins."""
        self._open[id(recording)] = recording
        self.write({"kind": "begin", "v": VERSION, **begun(recording, self.prompts)})

    def end(self, recording: Recording, outcome: dict[str, Any]) -> None:
        """Write the line of a call that ended."""
        self._open.pop(id(recording), None)
        self.write({"kind": "end", "v": VERSION, **outcome})
        if recording.decision.shadow is not None:
            self._shadow(recording.decision, recording.decision.shadow)

    def _shadow(self, served: Decision, work: Callable[[], Decision]) -> None:
        """Write what a challenger would have done, now that the answer is here; nothing was called, so nothing cost."""
        outcome: dict[str, Any] = {"status": "success"}
        try:
            decision = work()
        except Exception as error:
            # Whatever is wrong with a challenger is worth a line, and no request may fail of it.
            request = replace(served.request, request_id=new_id())
            decision = replace(
                served, request=request, decision_id=new_id(), arm=CHALLENGER, propensity=None, sticky_from=None,
                probabilities={}, predictions=(), shadow=None,
            )  # fmt: skip
            said = f"the challenger failed: {type(error).__name__}: {error}"[:500]
            outcome = {"status": "failure", "error_type": "router_error", "error_message": said}
        line = begun(Recording(self, decision, purpose="shadow", parent=served.request.request_id), self.prompts)
        if outcome["status"] == "failure":
            for name in ("plan", "candidates", "probabilities", "policy", "bundle_sha256", "model_requested"):
                line.pop(name, None)
        self.write({"kind": "begin", "v": VERSION, **line})
        ids = {"decision_id": decision.decision_id, "request_id": decision.request.request_id}
        self.write({"kind": "end", "v": VERSION, **ids, **outcome})

    def write(self, event: dict[str, Any]) -> None:
        """Append one event as one line of JSON; what cannot be written is counted and logged, never raised."""
        # Readers that split at Unicode's own line ends would tear a line that holds one.
        line = _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", _text(event)).encode("utf-8", "replace")
        with self._lock:
            try:
                descriptor = self._living()
                data = (b"\n" if self._torn else b"") + line + b"\n"
                self._torn = os.write(descriptor, data) != len(data)
                failure = "the disk took part of a line only" if self._torn else None
            except OSError as error:
                failure = str(error)
            if failure:
                self.lost += 1
        if failure:
            _LOG.error("journal %s: %s; an event is lost (%d so far)", self.path, failure, self.lost)

    def close(self) -> None:
        """Close the file; the calls still under way are ended as `router_process_ended`."""
        for recording in list(self._open.values()):
            recording.process_ended()
        with self._lock:
            self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def after_fork(self) -> None:
        """Write to a file of its own in a forked child, and leave to the parent what the parent has under way."""
        self._lock = threading.RLock()
        self._open = {}
        self._torn = False
        self._let_go()

    def _living(self) -> int:
        """Return the descriptor of a file that is there: a tidy-up may have deleted the one that was written so far."""
        try:
            if self._descriptor is not None and os.fstat(self._descriptor).st_nlink:
                return self._descriptor
        except OSError:  # Closed by somebody else, or a network's file that is stale.
            self._descriptor = None
        self._let_go()
        self._torn = False
        return self._reopen()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _reopen(self) -> int:
        host = re.sub(r"[^A-Za-z0-9.]", "_", platform.node())[:60]
        name = f"journal-{host}-{os.getpid()}-{time.time_ns()}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.path / name, flags, 0o600)
        return self._descriptor


def _text(event: dict[str, Any]) -> str:
    """Return an event as JSON; what is no number is null in it, and a field that JSON cannot hold is left out."""
    try:
        return json.dumps(event, **_JSON)
    except Exception:
        fields = []
        for name, value in event.items():
            try:
                fields.append(f'"{name}":{json.dumps(plain(value), **_JSON)}')
            except Exception as error:
                _LOG.error("journal: %s is left out of decision %s (%s)", name, event.get("decision_id"), error)
        return f"{{{','.join(fields)}}}"


def _end_at_exit(journal: Journal) -> None:
    reference = weakref.ref(journal)

    def end() -> None:
        living = reference()
        if living is not None:
            living.close()

    atexit.register(end)
    # Without this the finalizer would run first at exit, and take the hook away.
    weakref.finalize(journal, atexit.unregister, end).atexit = False


def begun(recording: Recording, prompts: bool) -> dict[str, Any]:
    """Return what is known of an interaction before its call, by the lake's names; what is None is left out."""
    decision = recording.decision
    request = decision.request
    text = request.text
    known = {
        "request_id": request.request_id,
        "at": decision.at.isoformat(),
        "purpose": recording.purpose,
        "parent_request_id": recording.parent,
        "session_id": request.session_id,
        "tenant": request.tenant,
        "unit": decision.unit or request.unit or request.session_id,
        "messages": request.messages if prompts else None,
        "prompt_sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "prompt_chars": request.chars,
        "context": dict(request.context) or None,
        "needs": {name: getattr(request.needs, name) for name in request.needs.__slots__},
        "model_requested": decision.candidate,
        **decision.metadata(),
        "propensity_source": "unknown" if decision.propensity is None else "logged",
        "predictions": [
            {
                name: value
                for name in prediction.__slots__
                if (value := getattr(prediction, name)) is not None and value == value
            }
            for prediction in decision.predictions
        ],
    }
    return {name: value for name, value in known.items() if value is not None}
