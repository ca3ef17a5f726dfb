# %% [markdown]
# # 5. Why no cosine keeps `enable` from `disable`
#
# A semantic cache serves the answer that was given to *another* question. Two questions that differ in one word lie
# closer together than most paraphrases, so that the nearest vector is often the wrong question. This lesson shows
# that, trains a verifier, and gives it a budget of wrong answers.

# %%
import tempfile
from pathlib import Path

import numpy as np

from beastmode.cache import Cache, CacheSettings, Memory, Semantic
from beastmode.cache.learned import LearnedVerifier
from features.edits import HARMFUL, HARMLESS, edits
from features.questions import questions
from features.worlds.questions import pairs
from models.encoders import EncoderSettings, fit
from models.exact import upper
from models.verifiers import VerifierSettings, examples, trained, within_budget, without
from models.verifiers_stream import candidates, point_threshold, served

known, later = questions(pairs(1200, 0)), questions(pairs(500, 1))
encoder = fit(known.texts, [str(i) for i in range(len(known))], EncoderSettings(surface_columns=0, term_columns=96), 0)


def embed(texts):
    vectors = encoder.encode(texts)[:, encoder.embedding]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def score(edited, verifier=None):
    cosine = (embed([edit.edited for edit in edited]) * embed([edit.text for edit in edited])).sum(axis=1)
    if verifier is None:
        return cosine
    rows = [(edit.edited, edit.text, float(near)) for edit, near in zip(edited, cosine, strict=True)]
    return verifier.scores(rows)


print(known.texts[0], known.texts[1], sep="\n")

# %% [markdown]
# ## One word apart
#
# Edits by rule turn a question (`number`, `negation`, `antonym`, `entity`, `swap`) or leave it as it is (`case`,
# `typo`, `politeness`, ...). Their cosines lie in the same place.

# %%
turned, kept = list(edits(later.texts, HARMFUL, 0)), list(edits(later.texts, HARMLESS, 0))
for edited in (turned, kept):
    for family in sorted({edit.family for edit in edited}):
        part = [edit for edit in edited if edit.family == family]
        print(f"{family:12} median cosine {np.median(score(part)):.3f}   {part[0].edited}")
assert np.median(score(turned)) > 0.8

# %% [markdown]
# ## A verifier with a budget
#
# The verifier is a forest over what tells two questions apart: cosine, overlap of words weighted by their rarity,
# numbers, names, negations, opposites, order. It learns from the stream's own neighbours and from edits of *both*
# kinds: with harmful ones alone it would learn that one changed token is another question.
#
# Its threshold is chosen on streams of questions whose groups it has not seen, so that the upper 95% bound of wrong
# answers per request stays within the budget. The share that was seen is no promise: about half of the time the
# truth lies above it.

# %%
settings = VerifierSettings(trees=80, edited=500, candidates=8, budget=0.02)
taught = examples(known, embed, settings, 0)
learned = trained(taught, settings, 0)
verifier = learned.verifier
print({name: round(value, 4) for name, value in verifier.told.items()})
assert verifier.told["wrong"] < verifier.told["wrong_upper"] <= settings.budget

# %% [markdown]
# ## The stream that comes later
#
# A hit is possible where the class of a question came before: that share is the ceiling, and it stands beside every
# figure.

# %%
order = np.random.default_rng(0).permutation(len(later))
near = candidates(embed(later.texts), order, settings.candidates, settings.floor)
offered = zip(near.asked, near.stored, near.cosine, strict=True)
rows = [(later.texts[a], later.texts[b], float(cosine)) for a, b, cosine in offered]
by_cosine = served(near, near.cosine, later.classes, order)
by_verifier = served(near, verifier.scores(rows), later.classes, order)
print(f"ceiling {by_verifier.ceiling:.3f}")
for name, stream, threshold in (
    ("cosine .95", by_cosine, 0.95),
    ("cosine tuned in hindsight", by_cosine, point_threshold(by_cosine, 0.02)),
    ("verifier, point", by_verifier, within_budget(learned.stream, 0.02, None)),
    ("verifier, bound", by_verifier, verifier.threshold),
):
    told = stream.at(threshold)
    print(f"{name:26} good {told['good']:.3f}  wrong {told['wrong']:.3f} (at most {told['wrong_upper']:.3f})")
assert by_verifier.at(verifier.threshold)["good"] > by_cosine.at(point_threshold(by_cosine, 0.02))["good"]

# %% [markdown]
# ## What it has never seen
#
# In-distribution figures flatter: judge by the family that was left out of training.

# %%
for family in HARMFUL:
    naive = without(taught, [family], settings, 0)
    half = np.median(score(kept, naive))
    new = [edit for edit in turned if edit.family == family]
    if new:
        print(f"{family:12} left out: {(score(new, naive) >= half).mean():.3f} served where half of the harmless are")

# %% [markdown]
# ## In service
#
# The verifier is a folder of JSON, text and numbers, read without LightGBM.

# %%
with tempfile.TemporaryDirectory() as scratch:
    digest = verifier.write(Path(scratch) / "verifier")
    verifier = LearnedVerifier.load(Path(scratch) / "verifier", digest)
semantic = Semantic(encoder, verifier, quarantine_seconds=0, canary_share=0)
with Cache([Memory(), semantic], CacheSettings(ttl_seconds=60)) as cache:
    cache.put("Can I return a premium camera after 3 weeks in Norway?", "Yes.", model="m")
    for text in (
        "can i return the premium camera after 3 weeks in Norway",
        "Can I return a premium camera after 5 weeks in Norway?",
        "Can I not return a premium camera after 3 weeks in Norway?",
        "Can I return a premium camera after 3 weeks in Kenya?",
    ):
        answer = cache.get(text, model="m")
        print(f"{text:62} {'asks the model' if answer is None else f'served, P = {answer.score:.2f}'}")
    assert cache.get("Can I return a premium camera after 5 weeks in Norway?", model="m") is None

# %% [markdown]
# ## What goes on measuring
#
# Traffic changes, and nobody judges it. For a share of the hits the model is asked all the same; where its answer
# agrees with the held one the hit was right. With a journal these canaries come back to `train-verifier`, which bounds
# the wrong answers of what serves by them, and learns from them.

# %%
answers = {text: str(answer) for text, answer in zip(later.texts, later.classes, strict=True)}
semantic = Semantic(encoder, verifier, quarantine_seconds=0, canary_share=0.3)
with Cache([Memory(), semantic], CacheSettings(ttl_seconds=600), seed=0) as cache:
    served_by = [cache.fetch(later.texts[i], lambda miss: answers[miss.request.text], model="m").tier for i in order]
hits, canary = served_by.count("semantic"), semantic.canary
wrong = canary.asked - canary.agreed
share = (hits + canary.asked) / len(order)
print(f"{hits} hits served and {canary.asked} checked, of {len(order)} requests; {wrong} of those checked were wrong")
print(f"at most {share * upper(wrong, canary.asked, 0.05):.3f} wrong answers a request, by these canaries alone")
assert canary.asked > 0
assert share * upper(wrong, canary.asked, 0.05) >= by_verifier.at(verifier.threshold)["wrong"]

# %% [markdown]
# **What to remember:** similarity proposes, the verifier decides, the bound limits, and the canary
# (`Semantic(canary_share=...)`) goes on measuring in service.
