"""A router as data: a folder of JSON, arrays and LightGBM text that verifies and reproduces itself on arrival."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode import golden
from beastmode.arrays import pack, unpack
from beastmode.candidates import Candidate
from beastmode.encoding import KINDS, Encoder
from beastmode.errors import BundleError
from beastmode.folder import MANIFEST, read_folder, seal, sha256_of, write_folder
from beastmode.objective import Objective
from beastmode.policies import Greedy, Policy, policy_from_json, policy_to_json
from beastmode.pricing import Rates
from beastmode.scorers import Parts, Scorer, scorer_from_parts
from beastmode.signing import PublicKey, verify
from beastmode.transformer import MODEL
from beastmode.validity import candidates_of, plain, require_columns, require_finite, require_text

if TYPE_CHECKING:
    from beastmode.certificate import Certificate

Floats = NDArray[np.float64]

LIMITS = {"static": 10_000_000, "onnx": 40_000_000}
"""The most bytes that the files of a bundle may take, by the kind of its encoder."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A choice between quality and money, fixed on training folds."""

    quality_ratio: float
    """The share of the best single candidate's quality that the lower bound keeps."""
    per_dollar: float
    margin: float
    incumbent: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """What is expected of every candidate, each of shape (requests, candidates); NaN where unknown."""

    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats
    utility: Floats
    cost_usd_quantiles: Floats
    """(quantiles, requests, candidates), in the order of `beastmode.scoring.QUANTILES`; so are the two that follow."""
    latency_ms_quantiles: Floats
    output_tokens_quantiles: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All that a router needs: what it knows, what it wants, and where it comes from."""

    name: str
    candidates: tuple[Candidate, ...]
    encoder: Encoder
    scorer: Scorer
    policy: Policy
    objective: Objective
    operating_points: tuple[OperatingPoint, ...] = ()
    guarantee: "Certificate | None" = None
    """What was certified of one more operating point; None where no guarantee was asked for."""
    created: str
    """ISO 8601."""
    code_version: str
    training: Mapping[str, Any] = field(default_factory=dict)
    """The data it was fitted on: range, rows, hashes."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    sha256: str | None = None
    """The manifest's hash: what pointers and registries name. None until the bundle is written."""
    verified: bool = False
    """Whether that hash, or the signer, was known before it was read, so that nothing in it can have been replaced."""
    signed: bool = False
    """Whether its signature was verified by a public key."""
    _rates: Rates = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rates", Rates.of([candidate.price for candidate in self.candidates]))

    @property
    def trust(self) -> str:
        """What stands behind the manifest, in a few words."""
        if self.signed:
            return "signed manifest"
        return "verified manifest" if self.verified else "unverified manifest"

    def expect(self, texts: Sequence[str], input_tokens: Floats | None = None) -> Expectation:
        """Return what is expected of every candidate; without `input_tokens`, a token is four characters."""
        if input_tokens is None:
            input_tokens = np.array([len(text) / 4 for text in texts])
        predicted = self.scorer.predict(self.encoder.encode(texts), input_tokens)
        # A price only rises with the tokens, so its quantiles are the prices of theirs.
        tokens = np.concatenate([predicted.output_tokens[None], predicted.output_tokens_quantiles])
        costs = self._rates.cost_usd(input_tokens, tokens)
        cost = costs[0]
        return Expectation(
            predicted.quality,
            cost,
            predicted.latency_ms,
            predicted.output_tokens,
            self.objective.utility(predicted.quality, cost, predicted.latency_ms),
            costs[1:],
            predicted.latency_ms_quantiles,
            predicted.output_tokens_quantiles,
        )

    def probabilities(
        self,
        texts: Sequence[str],
        input_tokens: Floats | None = None,
        eligible: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """Return P(candidate | request), shape (requests, candidates), under the policy and the objective."""
        expected = self.expect(texts, input_tokens)
        eligible = np.ones(expected.utility.shape, bool) if eligible is None else eligible
        return self.policy.probabilities(expected.utility, self.objective.reaching(expected.quality, eligible))

    def at(self, point: OperatingPoint | float) -> Self:
        """Return the same tables under another objective and margin; raises BundleError naming the points there are.

        A number asks for the cheapest operating point that keeps at least this share of the best single's quality.
        Exploration, where the policy explores, stays as it is.
        """
        if not isinstance(point, OperatingPoint):
            enough = [known for known in self.operating_points if known.quality_ratio >= point]
            if not enough:
                there = ", ".join(f"{known.quality_ratio:g}" for known in self.operating_points) or "none"
                raise BundleError(f"bundle {self.name!r}: no operating point keeps {point:g}; it has {there}")
            point = min(enough, key=lambda known: known.quality_ratio)
        objective = replace(self.objective, per_dollar=point.per_dollar)
        return replace(self, objective=objective, policy=_with_margin(self.policy, point))

    def guaranteed(self) -> Self:
        """Return the same tables at the certified operating point; raises BundleError where nothing is certified.

        What is certified does not explore: every draw is certain, and the log of it can evaluate no other policy.
        """
        known = self.guarantee
        if known is None:
            raise BundleError(
                f"bundle {self.name!r}: no quality guarantee; set [guarantee] in the configuration and train again"
            )
        if known.per_dollar is None or known.margin is None:
            raise BundleError(f"bundle {self.name!r}: {known.sentence} Use an operating point, or probe more requests")
        reference = [candidate.name for candidate in self.candidates].index(known.reference)
        objective = replace(self.objective, per_dollar=known.per_dollar)
        return replace(self, objective=objective, policy=Greedy(reference, known.margin))

    def files(self) -> dict[str, bytes]:
        """Return the bundle as the files of its folder, the manifest among them."""
        known, arrays = self.encoder.parts()
        parts = self.scorer.parts()
        require_finite(arrays, parts.arrays)
        files = {"encoder.npz": pack(arrays), "scorer.npz": pack(parts.arrays)}
        # What a reader will see is recorded, for tables may be stored more coarsely than they were fitted.
        stored = {name: unpack(data, 4 * LIMITS[known["kind"]]) for name, data in files.items()}
        encoder = type(self.encoder).from_parts(known, stored["encoder.npz"], self.encoder.files)
        scorer = scorer_from_parts(Parts(plain(parts.known), stored["scorer.npz"], parts.forests))
        recorded = golden.record(encoder, scorer)
        golden.check(encoder, scorer, recorded, len(self.candidates))
        files |= {"golden.npz": pack(recorded), **self.encoder.files}
        files |= {f"forest_{name}.txt": text.encode() for name, text in parts.forests.items()}
        manifest = {
            "name": self.name,
            "created": self.created,
            "code_version": self.code_version,
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "encoder": known,
            "scorer": {**parts.known, "forests": sorted(parts.forests)},
            "policy": policy_to_json(self.policy),
            "objective": asdict(self.objective),
            "operating_points": [asdict(point) for point in self.operating_points],
            "guarantee": self.guarantee and self.guarantee.to_json(),
            "training": self.training,
            "evaluation": self.evaluation,
            "mlflow_run_id": self.mlflow_run_id,
        }
        total = sum(map(len, files.values()))
        if total > LIMITS[known["kind"]]:
            raise ValueError(f"its files take {total:,} bytes, over the cap of {LIMITS[known['kind']]:,}")
        return seal(plain(manifest), files)

    def write(self, path: str | Path) -> Self:
        """Write the bundle as a folder, whole or not at all, and return it with its hash.

        Raises BundleError where the path exists, or where the bundle would not be accepted back.
        """
        try:
            files = self.files()
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(f"bundle {self.name!r} cannot be written: {error}; correct what made it") from error
        write_folder(Path(path), files)
        return replace(self, sha256=sha256_of(files[MANIFEST]), verified=True)

    @classmethod
    def read(cls, path: str | Path, sha256: str | None = None, public_key: PublicKey | None = None) -> Self:
        """Read a bundle and make it prove itself: hashes, caps, shapes, and the golden requests.

        `sha256` is the manifest's hash from a pointer or a registry; without it `verified` is False. With
        `public_key` (a PEM file, or its bytes) it must be signed by the private half of it. Raises BundleError, and
        nothing else, on whatever is wrong with the folder.
        """
        path = Path(path)
        try:
            vouch = None if public_key is None else partial(verify, str(path), public_key=public_key)
            manifest, files, digest = read_folder(path, sha256, max(LIMITS.values()), vouch)
            known = sha256 is not None or vouch is not None
            return cls._of(manifest, files, digest, verified=known, signed=vouch is not None)
        except BundleError:
            raise
        except OSError as error:
            raise BundleError(f"{path}: it cannot be read ({error}); check the folder and its permissions") from error
        except Exception as error:
            # Whatever a hostile folder provokes in a parser is one and the same thing to the caller.
            problem = str(error) or type(error).__name__
            raise BundleError(f"{path}: {problem}; install the beastmode that wrote it, or train again") from error

    @classmethod
    def _of(
        cls, manifest: Mapping[str, Any], files: Mapping[str, bytes], digest: str, verified: bool, signed: bool
    ) -> Self:
        kind = manifest["encoder"]["kind"]
        if kind not in KINDS:
            raise ValueError(f"unknown encoder {kind!r}; known: {', '.join(KINDS)}")
        if sum(map(len, files.values())) > LIMITS[kind]:
            raise ValueError(f"its files are over the cap of {LIMITS[kind]:,} bytes for a {kind} encoder")
        scorer_known = dict(manifest["scorer"])
        forests = {name: f"forest_{name}.txt" for name in scorer_known.pop("forests")}
        graphs = {MODEL} if kind == "onnx" else set()
        if set(files) != {"encoder.npz", "scorer.npz", "golden.npz", *graphs, *forests.values()}:
            raise ValueError(f"the files {', '.join(sorted(files))} are not those that its manifest speaks of")
        arrays = {name: _unpack(name, files, LIMITS[kind]) for name in ("encoder", "scorer", "golden")}
        require_finite(arrays["encoder"], arrays["scorer"])
        texts = {name: files[file].decode() for name, file in forests.items()}
        bundle = cls(
            candidates=candidates_of(manifest["candidates"]),
            encoder=Encoder.from_parts(manifest["encoder"], arrays["encoder"], files),
            scorer=scorer_from_parts(Parts(scorer_known, arrays["scorer"], texts)),
            policy=policy_from_json(manifest["policy"]),
            objective=Objective(**manifest["objective"]),
            operating_points=tuple(OperatingPoint(**point) for point in manifest["operating_points"]),
            guarantee=_certificate(manifest.get("guarantee")),
            sha256=digest,
            verified=verified,
            signed=signed,
            **{name: manifest[name] for name in _COPIED},
        )
        require_text(bundle)
        require_columns(bundle)
        with np.errstate(all="ignore"):
            try:
                golden.check(bundle.encoder, bundle.scorer, arrays["golden"], len(bundle.candidates))
            except ValueError as error:
                raise ValueError(f"golden.npz: {error}") from error
            utility = bundle.expect(golden.PROMPTS).utility
            drawn = bundle.policy.probabilities(utility, np.ones(utility.shape, bool))
        if not np.allclose(drawn.sum(axis=1), 1.0) or not (drawn >= 0).all():
            raise ValueError("the policy's probabilities do not sum to one")
        return bundle


_COPIED = ("name", "created", "code_version", "training", "evaluation", "mlflow_run_id")


def _certificate(known: Mapping[str, Any] | None) -> "Certificate | None":
    if known is None:
        return None
    from beastmode.certificate import Certificate

    return Certificate.from_mapping(known)


def _with_margin(policy: Any, point: OperatingPoint) -> Policy:
    """Return a policy whose greedy part has the point's margin and incumbent."""
    names = {known.name for known in fields(policy)}
    if "base" in names:
        return replace(policy, base=_with_margin(policy.base, point))  # type: ignore[no-any-return]
    if "margin" in names:
        return replace(policy, margin=point.margin, incumbent=point.incumbent)  # type: ignore[no-any-return]
    return policy  # type: ignore[no-any-return]


def _unpack(name: str, files: Mapping[str, bytes], limit: int) -> dict[str, NDArray[Any]]:
    try:
        # Tables compress by far less than four; more is a small file that means to fill the memory.
        return unpack(files[f"{name}.npz"], 4 * limit)
    except Exception as error:
        raise ValueError(f"{name}.npz: {error}") from error
