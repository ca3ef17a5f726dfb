"""What the surface of a prompt says: cheap counts and shares, the same in training and in serving."""

import math
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

WINDOW = 4096
"""Characters that are looked at: a longer prompt is read at its beginning and its end, so that time is bounded."""

_WORD = re.compile(r"\w+")
_BETWEEN = {code: " " for code in range(128) if not _WORD.match(chr(code))}
_OPTION = re.compile(r"\n[^\S\n]*[(\[]?[A-Za-z1-9][).:\]] ")
"""From the last line end before an option: from the first, a run of n empty lines would take n squared steps."""

# One row a class of characters; a prompt's bytes are counted once, and every class is a sum over the counts.
_CLASSES: dict[str, str] = {
    "digit_share": "0123456789",
    "upper_share": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "space_share": " \t\r\n\v\f",
    "maths_share": "+-*/=<>^%|~\\$",
    "code_share": "{}[];_`#@&",
    "bracket_share": "()",
    "quote_share": "\"'",
    "stop_share": ".,:!",
}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_QUESTION = _set("what which who whom whose when where why how")
_YES_NO = _set("is are was were do does did can could should would will has have may")
_COMMAND = _set(
    "write explain give list describe create make generate summarize summarise translate rewrite implement find "
    "compute calculate solve prove show design compare classify extract answer determine evaluate suggest"
)
_QUANTITY = _set("many much number total sum percent average mean ratio rate per cost price each times value amount")
_NEGATION = _set("not no never none except without cannot neither nor false incorrect least")
_REASON = _set("because therefore if then since hence suppose assume given let prove thus implies")
_CODE = _set(
    "def class import return public void select const include function var int str string self printf null elif "
    "struct async lambda sql python java javascript html json api bug code regex"
)
_PERSON = _set("i my me you your we our")

NAMES = (
    "has_text",
    "log_chars",
    "log_words",
    "word_chars",
    "long_word_share",
    "distinct_word_share",
    "log_lines",
    "line_words",
    *_CLASSES,
    "non_ascii_share",
    "log_numbers",
    "log_questions",
    "ends_with_question",
    "log_options",
    "fenced",
    "code_words",
    "question_words",
    "yes_no_first",
    "question_first",
    "command_first",
    "command_words",
    "quantity_words",
    "negation_words",
    "reason_words",
    "person_words",
)

_TABLE = np.zeros((256, len(_CLASSES) + 1))
for _column, _characters in enumerate(_CLASSES.values()):
    _TABLE[list(_characters.encode()), _column] = 1
_TABLE[0xC0:, -1] = 1  # the first byte of every character beyond ASCII in UTF-8
_DIGIT = _TABLE[:, 0].astype(bool)


def window(text: str) -> str:
    """Return the part of a prompt that is looked at: all of it, or its beginning and its end."""
    return text if len(text) <= WINDOW else text[: WINDOW * 3 // 4] + "\n" + text[-WINDOW // 4 :]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, digits and underscores.

    >>> words("Is 2+2 = 4?")
    ['is', '2', '2', '4']
    """
    # Within ASCII a translation finds the same words in a third of the regular expression's time.
    return text.lower().translate(_BETWEEN).split() if text.isascii() else _WORD.findall(text.lower())


def lexical(text: str, tokens: list[str] | None = None, tally: Mapping[str, int] | None = None) -> tuple[float, ...]:
    """Return the lexical features of a prompt, in the order of `NAMES`; all zero where there is no prompt.

    `tokens` are `words(window(text))`, and `tally` says how often each stands there, where the caller has them already.
    """
    if not text:
        return (0.0,) * len(NAMES)
    seen = window(text)
    if tokens is None:
        tokens = words(seen)
    tally = Counter(tokens) if tally is None else tally
    distinct = tally.keys()
    data: NDArray[np.uint8] = np.frombuffer(seen.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    shares = (np.bincount(data, minlength=256) @ _TABLE / len(seen)).tolist()
    digits = _DIGIT[data]
    numbers = int(np.count_nonzero(digits[1:] > digits[:-1])) + int(digits[0])
    count = len(tokens)
    lines = seen.count("\n") + 1
    first = tokens[0] if tokens else ""
    share = 1 / max(count, 1)
    return (
        1.0,
        math.log1p(len(text)),
        math.log1p(count),
        len("".join(tokens)) * share,
        sum([times for word, times in tally.items() if len(word) > 7]) * share,
        len(distinct) * share,
        math.log(lines),
        math.log1p(count / lines),
        *shares,
        math.log1p(numbers),
        math.log1p(seen.count("?")),
        float(seen.rstrip().endswith("?")),
        math.log1p(len(_OPTION.findall(seen))),
        float("```" in seen),
        float(len(distinct & _CODE)),
        float(len(distinct & _QUESTION)),
        float(first in _YES_NO),
        float(first in _QUESTION),
        float(first in _COMMAND),
        float(len(distinct & _COMMAND)),
        float(len(distinct & _QUANTITY)),
        float(len(distinct & _NEGATION)),
        float(len(distinct & _REASON)),
        float(len(distinct & _PERSON)),
    )
