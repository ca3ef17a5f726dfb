"""Numbers as a report says them to a person: with a true minus sign, and with the range in which the truth lies."""

from collections.abc import Sequence

TOLD = {"undecided": "not proven either way", "no worse than the margin": "not worse by more than allowed"}
"""Verdicts on a difference that need other words."""
MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """Return a number with so many digits after the point.

    >>> number(-0.5), number(0.5, 1, signed=True), number(-0.0001)
    ('−0.500', '+0.5', '0.000')
    """
    text = f"{abs(value):,.{digits}f}"
    zero = not any(c in "123456789" for c in text)
    return ("" if zero else MINUS if value < 0 else "+" if signed else "") + text


def money(amount: float, *, signed: bool = False) -> str:
    """Return US dollars with cents, and with more digits where cents would show nothing.

    >>> money(1234.5), money(-4.671), money(0.00042, signed=True), money(0)
    ('$1,234.50', '−$4.67', '+$0.00042', '$0.00')
    """
    size = abs(amount)
    told = f"${size:,.2f}" if size >= 0.1 or size == 0 else f"${size:.2g}"
    return (MINUS if amount < 0 else "+" if signed and amount else "") + told


def percent(share: float) -> str:
    """Return a share in per cent, whole where that says enough.

    >>> percent(-0.342), percent(0.0123)
    ('−34%', '1.2%')
    """
    return number(100 * share, 1 if abs(share) < 0.1 else 0) + "%"


def between(low: str, high: str) -> str:
    """Return the range in which the truth very likely lies.

    >>> between("1.0", "2.0")
    'very likely between 1.0 and 2.0'
    """
    return f"very likely between {low} and {high}"


def compared(whose: str, quality: Sequence[float], cost_usd: float | None) -> str:
    """Return a difference to the champion in words that need no statistics: quality and its range, cost a request.

    >>> compared("our", (0.012, 0.004, 0.02), -0.002)
    "a scale from 0 to 100, our answers are 1.2 points better than the champion's (very likely between +0.4 and +2.0), \
and 1,000 requests cost $2.00 less"
    """
    value, low, high = (100 * one for one in quality)
    said = (
        f"a scale from 0 to 100, {whose} answers are {number(abs(value), 1)} points "
        f"{'better' if value >= 0 else 'worse'} than the champion's "
        f"({between(number(low, 1, signed=True), number(high, 1, signed=True))})"
    )
    if cost_usd is None:
        return said
    return f"{said}, and 1,000 requests cost {money(1000 * abs(cost_usd))} {'more' if cost_usd > 0 else 'less'}"
