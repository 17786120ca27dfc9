"""What several tests of the store start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.two_ways import TwoWays


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[TwoWays]:
    """Two stores, of which all is compared at the end."""
    ways = TwoWays(tmp_path)
    yield ways
    ways.finish()
