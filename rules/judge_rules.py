"""A rule set on its way to a judge process: typed rules as bytes, so that nothing is read and checked a second time.

The process answers with the digest of what it has, written once more: it judges by these rules or not at all.
"""

import hashlib

import msgspec
from msgspec import Struct, structs

from rules.compiled import Rule, RuleSet, Table, build_index


class _Sent(Struct, frozen=True):
    """What a second engine needs of a rule set."""

    rules: tuple[Rule, ...]
    tables: dict[str, Table]
    #: In order, so that the same rules are the same bytes.
    singles: tuple[str, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Sent).decode


def write_rules(rules: RuleSet) -> bytes:
    """``rules`` as bytes, without what is built from them again."""
    bare = {name: structs.replace(table, index={}, prefixes={}) for name, table in rules.tables.items()}
    return _encode(_Sent(rules.rules, bare, tuple(sorted(rules.singles))))


def read_rules(written: bytes) -> RuleSet:
    """The rules in ``written``, without reactions. Raises msgspec.DecodeError."""
    sent = _decode(written)
    for table in sent.tables.values():
        build_index(table)
    return RuleSet(sent.rules, (), sent.tables, frozenset(sent.singles))


def digest_of(written: bytes) -> str:
    """The name of these rules between a service and its judge process."""
    return hashlib.sha256(written).hexdigest()
