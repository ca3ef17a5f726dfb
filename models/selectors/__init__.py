"""Ways to learn a selector: each takes examples, settings and a seed, and gives a scorer with its out-of-fold word."""

from collections.abc import Callable
from typing import Any

from models.examples import Examples
from models.fitted import Fitted, Learning
from models.selectors import blend, constant, kmeans, logistic, neighbours, per_model

SELECTORS: dict[str, Callable[[Examples, Learning, int, Any], Fitted]] = {
    "constant": constant.train,
    "neighbours": neighbours.train,
    "kmeans": kmeans.train,
    "logistic": logistic.train,
    "per_model": per_model.train,
    "shared_factors": blend.train_factors,
    "blend": blend.train,
}
