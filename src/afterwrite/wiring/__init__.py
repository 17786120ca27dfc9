"""Wiring: an app and settings become a running engine. Alone it names concrete implementations."""

from afterwrite.wiring.anchoring import anchor_store
from afterwrite.wiring.engine import Engine, open_engine
from afterwrite.wiring.seams import Seams

__all__ = ["Engine", "Seams", "anchor_store", "open_engine"]
