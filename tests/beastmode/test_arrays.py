"""Named arrays: what is empty may not be long, however few bytes it takes."""

import numpy as np
import pytest

from beastmode.arrays import pack, unpack


def test_an_empty_array_of_astronomical_length_is_refused() -> None:
    with pytest.raises(ValueError, match="but for a zero"):
        unpack(pack({"x": np.zeros((2**40, 0))}), 10**8)
    assert unpack(pack({"x": np.zeros((300, 0))}), 10**8)["x"].shape == (300, 0)
