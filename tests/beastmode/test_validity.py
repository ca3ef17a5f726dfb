"""What a manifest claims: an objective of anything but numbers is refused before a request meets it."""

from pathlib import Path
from typing import Any

import pytest

from beastmode.bundle import Bundle
from beastmode.errors import BundleError
from beastmode.objective import Objective


@pytest.mark.parametrize("floor", ["x", [1.0, 2.0, 3.0], True])
def test_a_quality_floor_that_is_no_number_is_refused(make_bundle: Any, tmp_path: Path, floor: Any) -> None:
    odd = Objective(per_dollar=10.0)
    object.__setattr__(odd, "quality_floor", floor)
    made = make_bundle(objective=odd)
    made.write(tmp_path / "b")
    with pytest.raises(BundleError, match="quality_floor"):
        Bundle.read(tmp_path / "b")
