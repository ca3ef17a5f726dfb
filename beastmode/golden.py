"""Synthetic requests that ship with the code: a bundle proves on arrival that it still says what it said."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.scoring import QUANTILES

PREDICTION_ATOL = 1e-5
PROMPTS: tuple[str, ...] = (
    "",
    "Hello!",
    "What is 17 * 23?",
    "Summarise the following meeting in three bullet points: the team agreed to ship on Friday.",
    "Write a Python function that returns the longest common prefix of a list of strings.\n\ndef prefix(words):",
    "SELECT name, COUNT(*) FROM orders WHERE total > 100.50 GROUP BY name; -- why is this slow?",
    "Translate to French: 'The weather is lovely today, isn't it?'",
    "Which of these is a prime number?\nA. 91\nB. 97\nC. 99\nD. 111",
    "Explain why the sky is blue to a child of six, then to a physicist.",
    "Solve for x: 3x^2 - 12x + 9 = 0. Show every step.",
    'Fix this JSON: {"a": 1, \'b\': [2, 3,], "c": null',
    "My order 48213 has not arrived. I paid on 2025-03-02 and I want a refund, please.",
    "Ein Zug fährt um 9:15 Uhr ab und kommt um 13:47 Uhr an. Wie lange dauert die Fahrt?",
    "请用一句话解释什么是机器学习。",
    "List the capital of each country in South America as a Markdown table.",
    "A patient presents with fever, a stiff neck and photophobia. What is the most likely diagnosis, and what "
    "should be done first? Consider differential diagnoses, and say what would change your mind.",
    "Under common law, when does an offer lapse? Cite the leading principle, and give an example with two parties.",
    "Is it ethical to lie to protect a friend?",
    "Compute the derivative of f(x) = ln(x^2 + 1) * e^(-x) at x = 0, and simplify.",
    "Which element has the electron configuration [Ar] 3d10 4s1, and why is it an exception?",
    "Rewrite more politely: send me the numbers now!!!",
    "The GDP of a country grew by 2.5% while its population grew by 1.1%. By how much did GDP per head grow? "
    "Options: (A) 1.38% (B) 1.40% (C) 3.6% (D) 2.27%",
    '```rust\nfn main() { let v: Vec<i32> = (1..=10).filter(|n| n % 2 == 0).collect(); println!("{v:?}"); }\n```\n'
    "What does this print, and how would you test it?",
    "Think step by step about the following puzzle. " * 40 + "Who owns the fish?",
)


QUANTITIES = ("quality", "output_tokens", "latency_ms", "output_tokens_quantiles", "latency_ms_quantiles")


def record(encoder: Any, scorer: Any) -> dict[str, NDArray[Any]]:
    """Return what an encoder and a scorer say of the golden prompts: the encoding, and every prediction."""
    encoding = encoder.encode(PROMPTS)
    return {"encoding": encoding, **_predictions(scorer, encoding)}


def _predictions(scorer: Any, encoding: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    input_tokens = np.array([len(text) / 4 for text in PROMPTS])
    predicted = scorer.predict(encoding, input_tokens)
    return {name: np.asarray(getattr(predicted, name), dtype=np.float64) for name in QUANTITIES}


def check(encoder: Any, scorer: Any, stored: Mapping[str, NDArray[Any]], candidates: int) -> None:
    """Recompute the golden requests; raises ValueError naming the request and the column that differ.

    `stored` is what `record` returned when the bundle was written. Predictions are recomputed from the *stored*
    encoding, so that the last bits of another processor's sums cannot carry a value over a split point between the two.
    """
    n = len(PROMPTS)
    if set(stored) != {"encoding", *QUANTITIES}:
        raise ValueError(f"it holds {', '.join(sorted(stored))}; expected encoding, {', '.join(QUANTITIES)}")
    for name, array in stored.items():
        before = (len(QUANTILES),) if name.endswith("_quantiles") else ()
        width = array.shape[-1:] if name == "encoding" else (candidates,)
        if array.shape != (*before, n, *width):
            raise ValueError(f"{name} has the shape {array.shape} for {n} requests and {candidates} candidates")
    encoding = encoder.encode(PROMPTS)
    if encoding.shape != stored["encoding"].shape:
        raise ValueError(f"the encoding has the shape {encoding.shape}, was {stored['encoding'].shape}")
    _compare_encoding(encoding, stored["encoding"], encoder)
    for name, array in _predictions(scorer, stored["encoding"].astype(np.float32)).items():
        if array.shape != stored[name].shape:
            raise ValueError(f"{name} has the shape {array.shape}, was {stored[name].shape}")
        if name == "quality" and not np.isfinite(array).all():
            raise ValueError("a predicted quality is not a number")
        if np.isinf(array).any():
            raise ValueError(f"a predicted {name} is infinite")
        close = np.isclose(array, stored[name], rtol=PREDICTION_ATOL, atol=PREDICTION_ATOL, equal_nan=True)
        if not close.all():
            *_, row, column = place = tuple(np.argwhere(~close)[0])
            raise ValueError(
                f"row {row}: {name} of candidate {column} differs ({array[place]:.6g}, was {stored[name][place]:.6g})"
            )


def _compare_encoding(new: NDArray[Any], old: NDArray[Any], encoder: Any) -> None:
    if not np.isfinite(old).all():
        raise ValueError("the stored encoding holds NaN or an infinity")
    far = ~(np.abs(new.astype(np.float64) - old) <= encoder.tolerance)
    if far.any():
        row, column = np.argwhere(far)[0]
        raise ValueError(
            f"row {row} differs in {encoder.names[column]!r} ({new[row, column]:.6g}, was {old[row, column]:.6g})"
        )
