"""What a quality guarantee says: the operating point it stands for, and the evidence that it was certified on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

ALL, DIVERTED = "all", "diverted"
"""Of which requests the risk is a share: of all, or of those that leave the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """P(quality loss against the reference > `loss`) <= `alpha`, with confidence 1 - `delta`; or why nobody can say so.

    Where no operating point is safe, `per_dollar` and `margin` are None, and the evidence is that of the first one
    that was tested.
    """

    loss: float
    """A request is lost where the reference's quality exceeds that of the candidate it was sent to by more."""
    alpha: float
    """The largest share of requests that may be lost."""
    delta: float
    """The chance, over the draw of the calibration requests, that the certificate is wrong."""
    of: str
    """`all` or `diverted`: the requests that `alpha` is a share of."""
    reference: str
    """The candidate that losses are measured against."""
    per_dollar: float | None
    """The price of money that was certified."""
    margin: float | None
    """The utility that another candidate must promise beyond the reference."""
    n: int
    """Calibration requests: independent ones, none of which the router was trained on."""
    diverted: float
    """The share of them that leaves the reference."""
    lost: int
    risk: float | None
    """Lost requests as a share of `of`; None where there is none to be a share of."""
    upper: float
    """The exact upper bound of this policy's risk, at a confidence of 1 - `delta` or more."""
    saving: float | None
    """The share of the reference's cost that is saved."""
    saving_usd: float | None
    """US dollars a request, with its standard error."""
    saving_usd_se: float | None
    smallest_alpha: float | None
    """Where none is safe, the smallest `alpha` that these requests would have certified."""
    probes_needed: int | None
    """Where none is safe, about how many calibration requests would do; None where no number would."""
    method: str
    data_sha256: str
    since: str
    until: str

    @property
    def safe(self) -> bool:
        """Whether there is an operating point that the guarantee stands for."""
        return self.per_dollar is not None

    @property
    def sentence(self) -> str:
        """The certificate in words."""
        base = "all requests" if self.of == ALL else f"the requests that leave {self.reference}"
        loss = "lose quality" if self.loss == 0 else f"lose more than {self.loss:g} of quality"
        promise = f"at most {self.alpha:.3g} of {base} {loss} against {self.reference}"
        if not self.safe:
            return f"No threshold is safe: it cannot be certified that {promise}{self._shortfall}."
        saved = "an unknown amount" if self.saving is None else f"{self.saving:.0%} of its cost"
        return (
            f"{self.diverted:.0%} of requests go to another candidate than {self.reference}, which saves {saved}; with "
            f"{1 - self.delta:.0%} confidence {promise} ({_share(self.risk)} did, upper bound {self.upper:.4f}, on "
            f"{self.n:,} requests)."
        )

    @property
    def _shortfall(self) -> str:
        if not self.n:
            return ": no held-out request was asked of every candidate"
        if self.smallest_alpha is None:
            return f" on {self.n:,} requests, for none of the policies that were tried saves money on the training rows"
        more = "no number of them would do"
        if self.probes_needed is not None:
            more = f"about {self.probes_needed:,} would do"
        return (
            f" on {self.n:,} requests ({more}); the first policy tested loses {_share(self.risk)}, and the smallest "
            f"share that could be certified is {self.smallest_alpha:.4f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain data."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, known: Mapping[str, Any]) -> Self:
        """Return the certificate that `to_json` described; raises ValueError on what cannot be one."""
        certificate = cls(**known)
        numbers = (certificate.loss, certificate.alpha, certificate.delta, certificate.upper)
        if not all(type(number) in (int, float) and 0 <= number <= 1 for number in numbers):
            raise ValueError(f"guarantee: loss, alpha, delta and upper {numbers} must lie in [0, 1]")
        if certificate.of not in (ALL, DIVERTED):
            raise ValueError(f"guarantee: of = {certificate.of!r} must be {ALL!r} or {DIVERTED!r}")
        point = [number for number in (certificate.per_dollar, certificate.margin) if number is not None]
        if len(point) == 1 or not all(type(number) in (int, float) and number >= 0 for number in point):
            raise ValueError(f"guarantee: the price of money and the margin {point} must be numbers of zero or more")
        if certificate.safe and certificate.upper > certificate.alpha:
            raise ValueError(f"guarantee: its bound {certificate.upper} exceeds its alpha {certificate.alpha}")
        return certificate


def _share(value: float | None) -> str:
    return "no share" if value is None else f"{value:.4f}"
