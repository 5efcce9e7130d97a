"""The generated pages are the code's."""

from pathlib import Path

from engine.events import TYPES
from engine.taxonomy import lifecycle_markdown, markdown, schemas

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pages_equal_the_code() -> None:
    assert (DOCS / "events.md").read_text(encoding="utf-8") == markdown()
    assert (DOCS / "lifecycle.md").read_text(encoding="utf-8") == lifecycle_markdown()


def test_every_event_type_has_a_schema_whose_data_is_closed() -> None:
    found, components = schemas()
    assert set(found) == set(TYPES)
    assert components["Receipt"]["additionalProperties"] is False
