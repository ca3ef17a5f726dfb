"""What the synthetic world's users ask about: templates, subjects, and words that tell how hard a question is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of request."""

    templates: tuple[str, ...]
    subjects: tuple[str, ...]
    answer_tokens: int
    """Typical length of an answer."""


LEVELS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "easy": (-1.0, ("simple", "short", "basic", "quick", "beginner's")),
    "plain": (0.0, ("typical", "complete", "clear", "practical", "careful")),
    "hard": (1.3, ("rigorous", "advanced", "production-grade", "exhaustive", "formally verified")),
}
"""Name -> how much harder it is, in logits, and the adjectives that betray it."""

DETAILS = (
    "",
    "Keep it under ten lines.",
    "Give one example.",
    "Mention the edge cases.",
    "Answer as a list.",
    "My colleague will check it.",
    "I need it today.",
    "Say what you assume.",
    "Compare two ways to do it.",
)

TOPICS: Mapping[str, Topic] = {
    "code": Topic(
        (
            "Write a {level} Python function that implements {subject}.",
            "Review this {level} implementation of {subject} and fix the bug in the loop.",
            "Refactor a {level} class for {subject} and add unit tests.",
        ),
        (
            "a least-recently-used cache", "a binary heap", "retry with backoff", "a JSON tokenizer", "a trie",
            "a rate limiter", "topological sorting", "a thread pool", "matrix multiplication", "a ring buffer",
            "an HTTP client", "a regular expression matcher", "a B-tree index", "an event loop", "a diff of two files",
        ),
        420,
    ),
    "data": Topic(
        (
            "Write a {level} SQL query that finds {subject}.",
            "Extract {subject} from the table below as {level} JSON.",
            "Build a {level} pandas pipeline that computes {subject}.",
        ),
        (
            "the monthly revenue by region", "customers who did not return", "duplicate invoices", "the median delay",
            "orders without a payment", "the ten best sellers", "sessions longer than an hour", "the churn rate",
            "stock below the minimum", "late deliveries by carrier", "the conversion by channel", "weekly active users",
        ),
        240,
    ),
    "maths": Topic(
        (
            "Give a {level} proof of {subject}.",
            "Solve this {level} exercise about {subject} step by step.",
            "Compute {subject} and show a {level} derivation.",
        ),
        (
            "the irrationality of a square root", "an integral by parts", "the eigenvalues of a matrix",
            "a sum of a geometric series", "the probability of two equal birthdays", "a system of linear equations",
            "the limit of a sequence", "a modular inverse", "the volume of a rotated curve", "Bayes' theorem",
            "a recurrence relation", "the variance of a mixture",
        ),
        380,
    ),
    "logic": Topic(
        (
            "Here is a {level} puzzle about {subject}; who is right?",
            "Find the flaw in this {level} argument about {subject}.",
            "Plan a {level} schedule for {subject} without conflicts.",
        ),
        (
            "five neighbours and their pets", "liars and truth-tellers", "crossing a river", "weighing twelve coins",
            "three switches and a lamp", "guests at a round table", "prisoners with coloured hats", "shifts of nurses",
            "trains on a single track", "meetings in three rooms",
        ),
        300,
    ),
    "translation": Topic(
        (
            "Translate this {level} {subject} into German.",
            "Translate this {level} {subject} into Spanish and keep the tone.",
            "Render this {level} {subject} in French for a general reader.",
        ),
        (
            "contract clause", "menu of a restaurant", "letter to a landlord", "patient leaflet", "press release",
            "love poem", "safety notice", "job advertisement", "museum guide", "bedtime story", "user manual",
        ),
        200,
    ),
    "writing": Topic(
        (
            "Draft a {level} e-mail about {subject}.",
            "Write a {level} story in which {subject} matters.",
            "Summarise {subject} in a {level} paragraph.",
        ),
        (
            "a delayed delivery", "a change of prices", "a lost umbrella", "the annual report", "a new colleague",
            "a cancelled flight", "a neighbour's garden", "the product launch", "an apology to a customer",
            "a winter evening", "a broken promise", "the minutes of a meeting",
        ),
        310,
    ),
    "medicine": Topic(
        (
            "Explain {subject} to a patient in {level} words.",
            "Write a {level} note on the treatment of {subject}.",
            "Which {level} tests are needed to tell {subject} from an infection?",
        ),
        (
            "high blood pressure", "type 2 diabetes", "migraine", "asthma in children", "iron deficiency",
            "a torn meniscus", "reflux", "an allergy to penicillin", "sleep apnoea", "an underactive thyroid",
        ),
        330,
    ),
    "support": Topic(
        (
            "How do I reset {subject}? A {level} answer is enough.",
            "My customer asks about {subject}; write a {level} reply.",
            "What is the {level} way to cancel {subject}?",
        ),
        (
            "my password", "two-factor sign-in", "a subscription", "the invoice address", "a refund", "the mobile app",
            "push notifications", "a shared calendar", "the trial period", "my delivery slot", "a gift card",
        ),
        110,
    ),
}  # fmt: skip
