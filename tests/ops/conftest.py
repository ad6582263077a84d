"""What the tests of this folder share."""

import pytest
from checkout import Checkout


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A copy of the project with kernels of its own, and a home for its user."""
    return Checkout(tmp_path)
