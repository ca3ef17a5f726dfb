"""What reports say of money, of estimators and of kinds of requests."""

from dataclasses import replace

import pytest

from models.comparison import Settings
from models.intervals import Estimate
from models.offpolicy import Segment, Valuation
from models.overlap import Overlap
from models.savings import Saved
from models.sensitivity import Sensitivity
from pipelines.evidence_tables import NAMES, alone, hidden, money_said, segments


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value, half / 2, value - half, value + half, 300)


def bill(gross: float, overhead: float, half: float = 0.001) -> Saved:
    """Of a reference that costs a cent a request."""
    net = gross - overhead
    return Saved("the log's own choices", 0.01, estimate(gross, half), estimate(net, half),
                 estimate(net / 0.01, half / 0.01), overhead)  # fmt: skip


def test_a_saving_is_said_with_what_it_is_measured_against() -> None:
    said = money_said(bill(0.004, 0.001))
    assert said.startswith("The champion saves $3.00 per 1,000 requests against the log's own choices ($10.00): 30%, ")
    assert "very likely between 20% and 40%" in said
    assert "includes $1.00 for probes and warming in the same days; its answers alone save $4.00" in said


def test_what_probes_cost_more_than_was_saved_is_said_as_a_cost_and_why() -> None:
    said = money_said(bill(0.002, 0.00667))
    assert said.startswith("The champion costs $4.67 more per 1,000 requests than the log's own choices ($10.00): 47%")
    assert "very likely between 37% and 57%" in said
    assert "includes $6.67 for probes and warming in the same days; its answers alone save $2.00" in said
    worse = money_said(bill(-0.002, 0.001))
    assert "its answers alone cost $2.00 more" in worse


@pytest.mark.parametrize("gross", [0.0005, -0.0005])
def test_what_is_not_proven_is_said_so(gross: float) -> None:
    said = money_said(bill(gross, 0.0))
    assert "is not proven" in said
    assert said.endswith("There were no probes and no warming to pay for in those days.")


SEEN = Overlap(900, 900, 412.4, 90.0, 7.25, 0.031, 1.0, 0.1, 0.002, 0.05, 1, 0.4, 300)


def test_every_estimator_stands_beside_the_others_with_what_it_rests_on() -> None:
    values = {name: estimate(0.5 + i / 100, 0.02) for i, name in enumerate(NAMES)}
    own = Valuation(values, SEEN, "logged", None, ())
    gain = Valuation({name: estimate(-0.01, 0.02) for name in NAMES}, SEEN, "logged", None, ())
    first, rests = alone(own, gain, 0.95)
    assert [row[0] for row in first.rows] == ["doubly robust", "SNIPS", "IPS", "SWITCH-DR", "direct method"]
    assert first.rows[0][1:3] == ("0.500 (0.480 to 0.520)", "−0.010 (−0.030 to +0.010)")
    assert [row[1] for row in rests.rows] == ["900", "412", "7.2", "0.2%", "5.0%", "logged"]
    guessed, _ = alone(replace(own, source="estimated"), gain, 0.95)
    assert guessed.note.startswith("Estimated: the log does not say")
    refused, _ = alone(own, replace(gain, refused="too little overlap"), 0.95)
    assert refused.note.startswith("No value to act on: too little overlap.")


def test_hidden_reasons_are_told_with_the_rule() -> None:
    bounds = [Sensitivity(1.0, 0.02, 0.02, 0.01, 0.03), Sensitivity(1.5, 0.0, 0.04, -0.01, 0.05)]
    told = hidden(bounds, Settings())
    assert told.rows == [
        ("none", "+0.010 to +0.030", "better"),
        ("a factor of 1.5", "−0.010 to +0.050", "nothing is proven"),
    ]
    assert "An estimate alone promotes nothing here" in told.note
    assert "withstands a factor of 1.5 (gate.estimated_odds)" in hidden(bounds, Settings(estimated_odds=1.5)).note


def test_kinds_of_requests_say_what_is_proven_and_what_cannot_be_said() -> None:
    found = [
        Segment("task code", 400, estimate(0.1, 0.02), 0.0002, None),
        Segment("task chat", 300, estimate(-0.01, 0.05), 0.9, None),
        Segment("task rare", 12, None, None, "no off-policy value: ..."),
    ]
    told = segments(found, 0.95)
    assert told.rows == [
        ("task code", "400", "+0.100 (+0.080 to +0.120)", "under 1 in 1,000", "better"),
        ("task chat", "300", "−0.010 (−0.060 to +0.040)", "0.900", "not proven either way"),
        ("task rare", "12", "–", "", "too little to say"),
    ]
    assert "All 3 ranges hold together at 95%" in told.note
