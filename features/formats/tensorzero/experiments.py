"""TensorZero's static experiments: with what probability a function's variant was drawn, and which one it was."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import UUID

from features.formats.events import FormatError, Source
from features.formats.values import Impossible, mapping, number

STATIC = ("static", "static_weights", "uniform")
"""Kinds of experimentation whose probabilities stand in the configuration; an adaptive one changes them as it runs."""
VARIANTS = "variants."
"""Before a function's name in a source's columns: `{ "variants.answer" = "mini=0.8|large=0.2" }`."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """How a function draws a variant: by weight among the candidates, then the fallbacks in their order."""

    weights: Mapping[str, float]
    """Positive weights by variant, sorted by name as the gateway sorts them."""
    fallbacks: tuple[str, ...] = ()
    exact: bool = True
    """Whether this configuration is known to have been in force."""

    @property
    def probabilities(self) -> dict[str, float]:
        """P(variant) of the first draw."""
        total = sum(self.weights.values())
        if not total:
            return dict.fromkeys(self.fallbacks[:1], 1.0)
        return {name: weight / total for name, weight in self.weights.items()}

    def order(self, function: str, episode: UUID) -> tuple[str, ...]:
        """Return the variants in the order in which the gateway tries them in an episode, the drawn one first.

        It draws by a hash of function and episode, so that an episode keeps its variant, and draws again among the
        rest when one fails: crates/tensorzero-core/src/experimentation/{mod,static_experimentation}.rs.
        """
        digest = hashlib.sha256(function.encode("utf-8", "replace") + episode.bytes).digest()
        uniform = int.from_bytes(digest[:4], "big") / 2**32
        left, drawn = dict(self.weights), []
        while left:
            threshold = uniform * sum(left.values())
            reached = zip(left, accumulate(left.values()), strict=True)
            drawn.append(next((name for name, weight in reached if weight > threshold), list(left)[-1]))
            del left[drawn[-1]]
        return (*drawn, *self.fallbacks)


Snapshot = Mapping[str, Mapping[str | None, Experiment | None]]
"""Function -> namespace, None for all others -> its experiment, None where its probabilities are not static."""


def snapshot(value: object) -> Snapshot:
    """Return the experiments of a configuration: TOML or JSON text, or its object; raises Impossible."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        try:
            value = tomllib.loads(value)
        except ValueError as error:
            raise Impossible("config", value, f"expected a configuration in TOML or JSON: {error}") from error
    functions = mapping("config.functions", mapping("config", value).get("functions"))
    return {name: _function(name, mapping(f"functions.{name}", known)) for name, known in functions.items()}


def _function(name: str, known: Mapping[str, Any]) -> dict[str | None, Experiment | None]:
    field = f"functions.{name}"
    variants = mapping(f"{field}.variants", known.get("variants"))
    said = known.get("experimentation")
    if not said:
        return {None: _by_variant(field, variants)}
    base = mapping(f"{field}.experimentation", said)
    # A loaded configuration nests what a file holds flat.
    scoped = mapping(f"{field}.experimentation.namespaces", base.get("namespaces"))
    found: dict[str | None, Experiment | None] = {
        None: _experiment(field, mapping(field, base.get("base", base)), variants)
    }
    return found | {space: _experiment(field, mapping(field, rules), variants) for space, rules in scoped.items()}


def _experiment(field: str, rules: Mapping[str, Any], variants: Mapping[str, Any]) -> Experiment | None:
    kind, given = rules.get("type"), rules.get("candidate_variants")
    fallbacks = tuple(str(name) for name in rules.get("fallback_variants") or ())
    if kind == "default" or (kind == "uniform" and given is None and not fallbacks):
        return _weighted(field, dict.fromkeys(variants, 1.0), ())
    if kind not in STATIC:
        return None
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given), 1.0)
    return _weighted(field, mapping(f"{field}.candidate_variants", given), fallbacks)


def _by_variant(field: str, variants: Mapping[str, Any]) -> Experiment | None:
    """Return the experiment of a function without one: `weight` of its variants, else all alike."""
    weights = {name: rules.get("weight") for name, rules in variants.items() if isinstance(rules, Mapping)}
    given = {name: weight for name, weight in weights.items() if weight is not None}
    if not given:
        return _weighted(field, dict.fromkeys(weights, 1.0), ())
    return _weighted(field, given, tuple(sorted(name for name in weights if name not in given)))


def _weighted(field: str, weights: Mapping[str, Any], fallbacks: tuple[str, ...]) -> Experiment | None:
    known = {name: number(f"{field}.{name}", weights[name]) or 0.0 for name in sorted(weights)}
    found = Experiment({name: weight for name, weight in known.items() if weight > 0}, fallbacks)
    return found if found.probabilities else None


def configured(source: Source) -> dict[str, Experiment]:
    """Return the experiments that a source's columns tell, by function; raises FormatError where one is misspelt."""
    found = {}
    for name, said in source.columns.items():
        if not name.startswith(VARIANTS):
            continue
        try:
            pairs = dict(part.strip().rsplit("=", 1) for part in said.split("|"))
            weights = {variant.strip(): float(weight) for variant, weight in sorted(pairs.items())}
        except ValueError as error:
            raise FormatError(f"columns: {name} = {said!r} must read 'variant=weight|variant=weight'") from error
        if not weights or min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
            raise FormatError(f"columns: {name} = {said!r}: weights are positive")
        positive = {variant: weight for variant, weight in weights.items() if weight > 0}
        found[name.removeprefix(VARIANTS)] = Experiment(positive, exact=False)
    return found
