"""What the report of a day says, and of whom."""

from pipelines.day_report import Event, Served, _reason, _sentence, _told, letters

BETTER, FIRST = "router-20260101-101010", "router-20260101-101010-best-single"
DAY = [
    Event(0, "improve", "Utility is better.", "promote"),
    Event(300, "advance, candidate", "On the held-out requests: utility is better.", "promote",
          f"{BETTER} decides in the shadow of {FIRST}."),
    Event(600, "advance, canary", "Better.", "promote", f"{BETTER} is the champion now."),
    Event(700, "an outage", "atlas stops answering"),
    Event(800, "guard", f"rolled back from {BETTER} to {FIRST}: errors"),
]  # fmt: skip


def served(quality: float, n: int) -> list[Served]:
    return [Served("atlas", "champion", quality, 0.001, False)] * n


def test_the_day_is_counted_and_not_recited() -> None:
    assert _sentence(DAY) == (
        "A day in the life: 1 router was promoted, 1 router was rolled back, with no hand on the wheel."
    )
    assert _sentence(DAY[:2]) == "A day in the life: nothing changed, with no hand on the wheel."
    assert "2 routers were stopped" in _sentence([Event(1, "advance, canary", "", "reject", "it is stopped")] * 2)


def test_the_reason_is_what_the_promotion_brought_to_the_champion() -> None:
    tried = [Served("nano", "challenger", 0.0, 0.001, False)] * 50
    answers = served(0.75, 600) + served(0.9, 50) + tried + served(0.1, 100)
    said = _reason(DAY, answers)
    assert said.startswith("On a scale from 0 to 100 the champion's answers scored 75, and 90 from the promotion")
    assert _reason(DAY[:2], answers) == "Every step was taken by the flows and the guard."


def test_routers_have_short_names_and_no_reason_is_told_twice() -> None:
    assert letters([event.said for event in DAY]) == {BETTER: "router A", FIRST: "router B"}
    assert _told(DAY[1]) == f"{BETTER} decides in the shadow of {FIRST}."
    assert _told(DAY[2]) == f"{BETTER} is the champion now. Better."
    assert _told(Event(1, "advance, shadow", "Too few.", "hold", "Everything stays as it is.")) == "Too few."
