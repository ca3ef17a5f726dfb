import re

from models.comparison import Comparison, Judgement, Settings
from models.estimators import Estimate
from pipelines import plots, report
from pipelines.plots import Point

HOSTILE = '<script>alert("x")</script> | a'


def judgement(verdict="promote", name="champion") -> Judgement:
    value = {metric: Estimate(0.8, 0.01, 0.78, 0.82, 300) for metric in ("utility", "quality")}
    return Judgement(
        verdict,
        "Utility is better by +0.02.",
        {"challenger": {**value, "cost_usd": Estimate(0.002, 0.0001, 0.0018, 0.0022, 300)}, name: value},
        (
            Comparison(name, "utility", 0.02, 0.01, 0.03, 0.005, 300, "better"),
            Comparison(name, "cost_usd", -0.001, -0.002, -0.0005, 0.0002, 300, "better"),
        ),
    )


def written(judged: Judgement, facts=None) -> report.Report:
    figures = {"frontier": plots.frontier([Point("challenger", "ours", 0.002, 0.8)])}
    return report.write(judged, [], figures, facts or {"challenger": "router-1"}, '{"seed": 0}', Settings())


def test_the_verdict_comes_first_and_its_reason_second() -> None:
    page = written(judgement())
    text = re.sub(r"<[^>]+>", " ", page.html.split("<header", 1)[1])
    assert text.index("proven better") < text.index("Utility is better by +0.02.") < text.index("router-1")
    assert page.markdown.startswith(f"**{page.sentence}** Utility is better by +0.02.")


def test_the_page_needs_nothing_else() -> None:
    html = written(judgement()).html
    assert re.findall(r"https?://", html) == []
    sources = re.findall(r'src="([^"]*)"', html)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "<link" not in html


def test_text_from_a_log_is_never_markup() -> None:
    page = written(judgement(name=HOSTILE), {"data": HOSTILE})
    assert "<script>" not in page.html
    assert "&lt;script&gt;" in page.html
    assert "<script>" not in page.markdown
    table = [line for line in page.markdown.splitlines() if line.startswith("|") and "alert" in line]
    assert table
    assert all(line.count("|") in (5, 6) for line in table)


def test_an_unknown_cost_is_unknown() -> None:
    assert "unknown" in written(judgement()).markdown


def test_a_refusal_says_why_there_is_no_number() -> None:
    page = written(Judgement("hold", "No verdict: nothing was probed.", {}, (), "nothing was probed"))
    assert "Why there is no number" in page.html
    assert "nothing was probed" in page.html
    assert "What each policy earns" not in page.html


def test_cost_is_told_per_thousand_requests() -> None:
    assert "$2.00 ($1.80 to $2.20)" in written(judgement()).html
    assert "−$1.00" in written(judgement()).html
    assert "cheaper" in written(judgement()).html
