"""Sign what the flows write, where a key is configured."""

import os
from pathlib import Path

from beastmode.folder import SIGNATURE
from beastmode.signing import sign

VARIABLE = "BEASTMODE_SIGNING_KEY"
"""Names the file of the private key; nothing is signed where it is not set."""


def signed(folder: Path) -> bool:
    """Sign a bundle's folder with the configured key, unless it is signed; returns whether it was signed now.

    Raises BundleError where the key is none.
    """
    key = os.environ.get(VARIABLE)
    if not key or (folder / SIGNATURE).exists():
        return False
    sign(folder, key)
    return True
