"""Pairs of questions whose classes are known, for lessons and tests: nothing in them was ever asked."""

from collections.abc import Sequence

import numpy as np

FORMS: tuple[tuple[str, ...], ...] = (
    (
        "How do I cancel my {thing} in {place} within {number} days?",
        "How can I cancel a {thing} within {number} days in {place}?",
        "What is the way to cancel the {thing} in {place} within {number} days?",
    ),
    (
        "Which is the best {thing} under {number} dollars in {place}?",
        "What is the best {thing} in {place} under {number} dollars?",
        "Where is the best {thing} under {number} dollars sold in {place}?",
    ),
    (
        "Can I return a {thing} after {number} weeks in {place}?",
        "Could we return the {thing} in {place} after {number} weeks?",
        "Is it possible to return my {thing} after {number} weeks in {place}?",
    ),
    (
        "How does shipping a {thing} from {place} to {other} work?",
        "How can I do the shipping of my {thing} from {place} to {other}?",
        "What does it take for shipping a {thing} from {place} to {other}?",
    ),
    (
        "Why is my {thing} slow in {place} since version {number}?",
        "Why does the {thing} get slow in {place} with version {number}?",
        "What makes a {thing} slow since version {number} in {place}?",
    ),
)
_KINDS = ("red", "basic", "family", "student", "premium", "travel", "winter", "office", "garden", "kitchen")
_THINGS = ("contract", "phone", "ticket", "bicycle", "printer", "camera", "policy", "laptop", "router", "heater")
_PLACES = ("Germany", "France", "Canada", "India", "Japan", "Brazil", "Kenya", "Norway")
_NUMBERS = ("2", "3", "5", "7", "10", "14", "20", "30")


def pairs(count: int, seed: int) -> list[dict[str, object]]:
    """Return so many pairs with `text_a`, `text_b`, `label` and classes, half of them of one class.

    The two of a pair are about one thing, so that a split by groups keeps things together; those of two classes
    differ in what is asked, in the place or in the number.
    """
    rng = np.random.default_rng(seed)
    things = [f"{kind} {thing}" for kind in _KINDS for thing in _THINGS]
    rows: list[dict[str, object]] = []
    while len(rows) < count:
        thing, form = str(rng.choice(things)), int(rng.integers(len(FORMS)))
        slots = [*rng.choice(_PLACES, 2, replace=False), rng.choice(_NUMBERS)]
        same = bool(rng.random() < 0.5)
        changed, other = list(slots), form
        if not same:
            what = int(rng.integers(3))
            if what == 0:
                other = (form + int(rng.integers(1, len(FORMS)))) % len(FORMS)
            elif what == 1 or form == 3:
                # The places are those of the shipping: exchanged, they are another question.
                changed[:2] = slots[1::-1]
            else:
                changed[2] = str(rng.choice([number for number in _NUMBERS if number != slots[2]]))
        first, second = rng.permutation(len(FORMS[0]))[:2]
        a, b = _spelt(FORMS[form][first], thing, slots), _spelt(FORMS[other][second], thing, changed)
        classes = _class(form, thing, slots), _class(other, thing, changed)
        rows.append({
            "text_a": a, "text_b": b, "label": int(same), "answer_class_a": classes[0], "answer_class_b": classes[1],
        })  # fmt: skip
    return rows


def _class(form: int, thing: str, slots: Sequence[object]) -> str:
    """Return what is asked: the form, and what fills the places that it has."""
    return f"{form} {_spelt(FORMS[form][0], thing, slots)}"


def _spelt(form: str, thing: str, slots: Sequence[object]) -> str:
    place, other, number = slots
    return form.format(thing=thing, place=place, other=other, number=number)
