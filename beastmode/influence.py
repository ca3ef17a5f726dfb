"""What in a request speaks for one candidate over another: what each feature's absence would change."""

from dataclasses import dataclass

import numpy as np

from beastmode.bundle import Bundle

MOST = 6
"""Influences that are told."""
VISIBLE = 5e-4
"""A change of quality under it is none."""


@dataclass(frozen=True, slots=True)
class Influence:
    """What one feature does to the lead of one candidate over another."""

    feature: str
    """A lexical feature by its name, or a part of the embedding: `surface`, `term`, `token`, `sentence`."""
    lead: float
    """The predicted quality that the lead would lose if the request were average in the feature; negative where the
    feature speaks for the other candidate."""


def influences(bundle: Bundle, text: str, column: int, other: int) -> tuple[Influence, ...]:
    """Return the features that move the predicted lead of the candidate in `column` over `other`, the strongest first.

    Each is taken away alone ("occlusion", Zeiler and Fergus 2014, arXiv 1311.2901) and the scorer asked again, whatever
    kind it is: a lexical feature becomes average, a part of the embedding near to nothing. Features that say the same
    share their word, so the influences do not add up to the lead.
    """
    encoding = bundle.encoder.encode((text,))
    start = bundle.encoder.embedding.start
    names = [name if i < start else name.rpartition("_")[0] for i, name in enumerate(bundle.encoder.names)]
    features = list(dict.fromkeys(names))
    rows = np.repeat(encoding, len(features) + 1, axis=0)
    for row, feature in enumerate(features):
        rows[row, [name == feature for name in names]] = 0.0
    quality = bundle.scorer.predict(rows, np.full(len(rows), len(text) / 4)).quality
    lead = quality[:, column] - quality[:, other]
    found = [Influence(name, float(lost)) for name, lost in zip(features, lead[-1] - lead[:-1], strict=True)]
    found = [influence for influence in found if abs(influence.lead) >= VISIBLE]
    return tuple(sorted(found, key=lambda influence: -abs(influence.lead))[:MOST])
