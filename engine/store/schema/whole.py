"""Every table together, for whoever needs all of them: migrations, and writing by a table's name."""

from engine.store.schema import access, delivery, lots, quality, reference, signed
from engine.store.schema.base import metadata

__all__ = ["access", "delivery", "lots", "metadata", "quality", "reference", "signed"]
