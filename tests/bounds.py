"""How long tests wait."""

from __future__ import annotations

from typing import Final

BOUND_S: Final = 120.0
"""For what must happen: nothing but a hang takes so long, however busy the machine is."""
