"""That an entry of a lot is in what a checkpoint of the installation was signed over, shown with nothing but the proof.

The entry's hash is over its lot's whole journal up to it; its line is a leaf of the tree whose root was signed, and a
path of a few digests leads from the one to the other. The checkpoints from there to the newest come along, so that any
of them which somebody kept will do. What may not enter: HTTP, what else an archive holds (engine/audit.py).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from sqlalchemy import Connection, select, tuple_

from engine.checkpoints import is_signed, key_id_of
from engine.installation_checkpoints import (
    BLOCK,
    FORMAT,
    InstallationCheckpoint,
    digest_of,
    end_of,
    leaf_of,
    line_bytes,
    read_from,
    read_page,
    signed_bytes,
)
from engine.journal import Entry
from engine.merkle import SIZE, leaf, path, root_by
from engine.store.lines import Place, read_last_line
from engine.store.opening import Store
from engine.store.schema.signed import checkpoint_blocks, checkpoints


class Inclusion(Struct, frozen=True):
    """A proof."""

    lot: str
    #: The entry: every one before it is in its hash.
    version: int
    hash: str
    #: Number of the entry in the whole journal.
    position: int
    #: Number of its line among those of the first checkpoint below, from 0 on.
    index: int
    #: Digests that lead from its leaf to the root, nearest first; hex.
    path: list[str]
    #: The checkpoint that it is in, and those that followed.
    checkpoints: list[InstallationCheckpoint]


def prove(store: Store, lot: str, version: int) -> Inclusion | None:
    """For the newest entry of the lot, up to ``version``, that a checkpoint is over. None: there is no proof.

    That is so when no checkpoint is over any, and when what is stored does not lead to what was signed.
    """
    newest = read_page(store, limit=1)
    if not newest:
        return None
    line = read_last_line(store, lot, version, end_of(newest[0]))
    if line is None:
        return None
    with store.reads.connect() as connection:
        number = _number_over(connection, line.place)
        chain = read_from(connection, number)
        block = _block_with(connection, number, line.place, -(-chain[0].entries // BLOCK))
        mine_only, column = checkpoint_blocks.c.number == number, checkpoint_blocks.c
        leaves = connection.execute(select(column.leaves).where(mine_only, column.block == block)).scalar() or b""
        roots = connection.execute(select(column.root).where(mine_only).order_by(column.block)).scalars()
        branches = [bytes(root) for root in roots]
    digests = [bytes(leaves)[at : at + SIZE] for at in range(0, len(leaves), SIZE)]
    mine = leaf_of(line)
    if mine not in digests:
        return None
    at = digests.index(mine)
    steps, index = [*path(digests, at), *path(branches, block)], block * BLOCK + at
    root = root_by(mine, index, chain[0].entries, steps)
    if root is None or root.hex() != chain[0].root:
        return None
    return Inclusion(lot, line.version, line.hash, line.position, index, [step.hex() for step in steps], chain)


def _number_over(connection: Connection, place: Place) -> int:
    ends = tuple_(checkpoints.c.upto_order, checkpoints.c.upto_position)
    query = select(checkpoints.c.number).where(ends >= tuple_(*place)).order_by(checkpoints.c.number).limit(1)
    return int(connection.execute(query).scalar_one())


def _block_with(connection: Connection, number: int, place: Place, blocks: int) -> int:
    """The first block that does not end before a place, found by halving."""
    low, high = 0, max(0, blocks - 1)
    while low < high:
        middle = (low + high) // 2
        query = select(checkpoint_blocks.c.upto_order, checkpoint_blocks.c.upto_position).where(
            checkpoint_blocks.c.number == number, checkpoint_blocks.c.block == middle
        )
        row = connection.execute(query).first()
        if row is not None and (row[0], row[1]) < place:
            low = middle + 1
        else:
            high = middle
    return low


def contradictions(
    proof: Inclusion, lot: str, entry_of: Callable[[int], Entry | None], key: Ed25519PublicKey | None,
    kept: Sequence[InstallationCheckpoint],
) -> Iterator[str]:  # fmt: skip
    """Why a proof does not show that the journal of ``lot`` is in what was signed, and in what was ``kept``."""
    entry, chain = entry_of(proof.version), proof.checkpoints
    if not chain or any(one.format != FORMAT for one in chain):
        yield f"the proof of inclusion has no checkpoints of the format {FORMAT}"
        return
    if proof.lot != lot or entry is None or entry.hash != proof.hash:
        yield f"the proof of inclusion is of another entry than version {proof.version} of this journal"
    said = leaf(line_bytes(proof.position, proof.lot, proof.version, proof.hash))
    try:
        root = root_by(said, proof.index, chain[0].entries, [bytes.fromhex(step) for step in proof.path])
    except ValueError:
        root = None
    if root is None or root.hex() != chain[0].root:
        yield f"the proof does not lead to what checkpoint {chain[0].number} was signed over"
    for before, after in pairwise(chain):
        if after.number != before.number + 1 or after.previous != digest_of(before):
            yield f"checkpoint {after.number} does not follow checkpoint {before.number}"
    # Each names the digest of the one before: the newest signature is over all of them, whatever key was used before.
    if key is not None and not is_signed(chain[-1].signature, signed_bytes(chain[-1]), key):
        yield f"checkpoint {chain[-1].number} was not signed by the key {key_id_of(key)}, or was changed"
    mine = {one.number: digest_of(one) for one in chain}
    for one in kept:
        yield from _against(one, mine, key)


def _against(one: InstallationCheckpoint, mine: dict[int, str], key: Ed25519PublicKey | None) -> Iterator[str]:
    where = f"kept checkpoint {one.number} of {one.signed_at}"
    if key is not None and one.key_id == key_id_of(key) and not is_signed(one.signature, signed_bytes(one), key):
        yield f"{where} was not signed by the key {key_id_of(key)}, or was changed"
    if one.number not in mine:
        first, last = min(mine), max(mine)
        yield f"{where} cannot be held against this archive, which has checkpoints {first} to {last}" + (
            "; export it again" if one.number > last else ""
        )
    elif mine[one.number] != digest_of(one):
        yield f"{where} is not the one of that number in this archive"
