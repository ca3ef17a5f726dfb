"""Ask the cells of a plan: each answer journalled at once, scored, and paid from a purse that is never overdrawn."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beastmode.candidates import Candidate
from beastmode.records import Message, Request
from pipelines.files import write_whole
from pipelines.probe_calls import most
from pipelines.probe_journal import Recalled
from pipelines.probe_paying import GivenUp, Payer
from pipelines.probe_scoring import Function, Unscored, by_function, exact, judge_messages, judged
from pipelines.probe_settings import ProbeSettings
from pipelines.spending import Spending, Stop

UNSCORED = 5
"""Answers in a row without a score after which the run ends: every other one would be paid for in vain."""
BYTES_A_TOKEN = 8
"""An answer is cut to so many bytes for each token it may have, before a judge reads it: its cost has a bound then."""


@dataclass(frozen=True, slots=True)
class Question:
    """A cell of the plan, ready to be asked."""

    request: Request
    """Under the probe's own id, its context marked with the plan."""
    parent: str
    candidate: Candidate
    reference: Any = None
    reason: str = ""


@dataclass(slots=True)
class Asked:
    """What came of a run."""

    answered: int = 0
    scored: int = 0
    recalled: int = 0
    """Answered in an earlier run, and not asked again."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Why cells were left out, and how many."""
    stopped: str | None = None
    """Why it ended before the plan did."""


@dataclass(slots=True, kw_only=True)
class Asking:
    """One run over a plan's questions."""

    payer: Payer
    settings: ProbeSettings
    waiting: Path
    """Folder of answers that are journalled and not yet scored; each leaves it with its score."""
    graded: Function | None = None
    judge: Candidate | None = None
    told: Asked = field(default_factory=Asked)
    _spending: Spending = field(init=False)
    _unscored: int = 0
    """Answers in a row without a score."""

    def __post_init__(self) -> None:
        self._spending = Spending(
            purse=self.payer.purse, concurrency=self.settings.concurrency, setting="probe.budget_usd", told=self.told,
            stop=self.payer.stop,
        )  # fmt: skip

    def run(self, questions: Sequence[Question], known: Recalled, progress: Callable[[int], None]) -> Asked:
        """Ask what was not answered, score what was not scored, and return what came of it.

        Ends early where the purse cannot bear the next call, the judge fails for good or the journal loses a line.
        """
        self.waiting.mkdir(parents=True, exist_ok=True)
        self._spending.run(questions, lambda question: self._begin(question, known), progress)
        return self.told

    def _begin(self, question: Question, known: Recalled) -> None:
        """Have a question asked, unless it is done already or cannot be; raises Stop."""
        name = question.request.request_id
        kept = self._kept(name).exists()
        if name in known.scored or (name in known.answered and not kept):
            self._kept(name).unlink(missing_ok=True)
            self.told.recalled += 1
            return
        ask = name not in known.answered
        if ask and question.candidate.name in self.payer.dropped:
            self._spending.skip(f"{question.candidate.name}: {self.payer.dropped[question.candidate.name]}")
            return
        reserves = self._reserves(question, ask)
        if reserves is None:
            self._spending.skip(
                f"{question.candidate.name}: what a call costs cannot be bounded; give it a price per token"
            )
            return
        self._spending.call(sum(reserves), lambda: self._one(question, reserves, ask))

    def _reserves(self, question: Question, ask: bool) -> tuple[float, float] | None:
        """Return the most that the answer and its grading can cost, or None where that is not known."""
        limit = self.settings.max_output_tokens
        answer = most(question.candidate, question.request.messages, limit) if ask else 0.0
        longest = "x" * (BYTES_A_TOKEN * limit)
        grading = 0.0 if self.judge is None else most(self.judge, self._grading(question, longest), limit)
        return None if answer is None or grading is None else (answer, grading)

    def _one(self, question: Question, reserves: tuple[float, float], ask: bool) -> None:
        """Ask and score one question; what is not needed of its reserves goes back to the purse. Raises Stop."""
        try:
            self._ask_and_score(question, reserves, ask)
        finally:
            if self.payer.journal.lost:
                path = self.payer.journal.path
                self._spending.halt(f"the journal {path} lost a line: free its disk, for what is not written is unpaid")

    def _ask_and_score(self, question: Question, reserves: tuple[float, float], ask: bool) -> None:
        name = question.request.request_id
        answer, grading = reserves
        try:
            if ask:
                said = self.payer.call(
                    question.request, question.candidate, "probe", question.parent, answer, self._keep
                )
                with self._spending.lock:
                    self.told.answered += 1
            else:
                said = self._kept(name).read_text(encoding="utf-8")
        except GivenUp as reason:
            self.payer.purse.settle(grading, 0.0)
            self._spending.skip(str(reason))
            return
        try:
            value, source = self._score(question, said, grading)
        except Unscored as reason:
            self._spending.skip(f"not scored: {reason}")
            with self._spending.lock:
                self._unscored += 1
            if self._unscored >= UNSCORED:
                raise Stop(f"{UNSCORED} answers in a row could not be scored, the last because {reason}") from reason
            return
        self.payer.journal.feedback(name, "probe" if self.judge is None else "judge", value, source=source)
        self._kept(name).unlink(missing_ok=True)
        with self._spending.lock:
            self._unscored = 0
            self.told.scored += 1

    def _score(self, question: Question, said: str, reserve: float) -> tuple[float, str]:
        """Return the score of an answer and where it comes from; raises Unscored, and Stop where the judge is gone."""
        if self.judge is None:
            self.payer.purse.settle(reserve, 0.0)
            if self.graded is not None:
                return by_function(self.graded, question.request, said, question.reference), str(self.settings.function)
            return exact(said, question.reference), "exact match"
        request = Request(self._grading(question, said), context=dict(question.request.context))
        try:
            reply = self.payer.call(request, self.judge, "judge", question.request.request_id, reserve)
        except GivenUp as reason:
            if self.judge.name in self.payer.dropped:
                raise Stop(f"the judge {self.judge.name}: {reason}") from reason
            raise Unscored(str(reason)) from reason
        return judged(reply), self.judge.name

    def _grading(self, question: Question, said: str) -> tuple[Message, ...]:
        longest = BYTES_A_TOKEN * self.settings.max_output_tokens
        if len(json.dumps(said)) > longest + 2:
            said = said[: longest // 6]  # six bytes are the most that JSON makes of a character of the answer
        return tuple(judge_messages(self.settings.rubric, question.request, said, question.reference))

    def _kept(self, name: str) -> Path:
        return self.waiting / f"{name}.txt"

    def _keep(self, name: str, text: str) -> None:
        write_whole(self._kept(name), text, private=True)
