"""Every table of a struct is built before there are threads: two threads that build one end the process."""

import msgspec

from engine.runtime import open_engine
from engine.settings import load_settings
from engine.structs import warm_structs


def is_built(kind: type[msgspec.Struct], text: bytes) -> bool:
    """Is its table there? Then what its annotations say later has no effect."""
    kind.__annotations__["count"] = str
    try:
        msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        return False
    return True


def test_tables_are_built_of_structs_and_of_what_is_inside_them() -> None:
    class Inner(msgspec.Struct):
        count: int

    class Outer(msgspec.Struct):
        inner: Inner

    class Untouched(msgspec.Struct):
        count: int

    assert warm_structs() > 100
    assert is_built(Inner, b'{"count": 1}')
    Untouched.__annotations__["count"] = int
    assert msgspec.json.decode(b'{"inner": {"count": 1}}', type=Outer).inner.count == 1


def test_what_is_not_built_is_told_apart() -> None:
    class Fresh(msgspec.Struct):
        count: int

    assert not is_built(Fresh, b'{"count": 1}')


def test_opening_the_engine_builds_them(tmp_path: object) -> None:
    class Probe(msgspec.Struct):
        count: int

    engine = open_engine(load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_CHANNEL": "reference"}))
    engine.close()
    assert is_built(Probe, b'{"count": 1}')
