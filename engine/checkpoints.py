"""Signed checkpoints: this installation says, under its key, which head a lot's journal had and when.

The head is the hash over the whole journal of the lot, so a checkpoint is over every entry up to its version. Whoever
has the public key, and got it apart from what it is held against, can tell offline that the installation made it. The
key is Ed25519 (RFC 8032); it is made at the first run and never leaves the installation. The only door to
``cryptography`` here; what may not enter: HTTP, what an archive holds (engine/audit.py).
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Struct

from engine.errors import SettingInvalid
from engine.journal import Entry
from engine.seals import Seal, sealed_bytes
from engine.settings import Settings

FORMAT = "lotgate.checkpoint.v1"
#: Name of the file in LOTGATE_HOME that holds the key.
KEY_FILE = "signing.key"
#: Beside it: the public keys (PEM) that signed before the key was changed, one after the other.
FORMER_FILE = "signing.former"


class Checkpoint(Struct, frozen=True):
    """What was signed, and the signature over it."""

    format: str
    lot: str
    version: int
    #: Hash of the entry of that version.
    head: str
    #: ISO 8601, UTC: what the clock of the installation said.
    signed_at: str
    #: Which key: the first 16 hexadecimal digits of the SHA-256 of its 32 public bytes.
    key_id: str
    #: Base64 of 64 bytes.
    signature: str


class PublicKey(Struct, frozen=True):
    """The public key of an installation."""

    key_id: str
    #: Ed25519
    algorithm: str
    #: PEM.
    public_key: str


class Signer:
    """The key of this installation."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._id = key_id_of(key.public_key())

    @property
    def public(self) -> PublicKey:
        """What others need to verify its signatures."""
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return PublicKey(self._id, "Ed25519", pem.decode())

    def signature(self, said: bytes) -> str:
        """The signature over ``said``, Base64."""
        return base64.b64encode(self._key.sign(said)).decode()

    def sign(self, lot: str, version: int, head: str, now: str) -> Checkpoint:
        """A checkpoint of a lot's journal."""
        signature = self.signature(signed_bytes(lot, version, head, now, self._id))
        return Checkpoint(FORMAT, lot, version, head, now, self._id, signature)

    def seal(self, kind: str, digest: str, now: str) -> Seal:
        """The signature over a file of the format ``kind``."""
        return Seal(kind, digest, now, self._id, self.signature(sealed_bytes(kind, digest, now, self._id)))


def signer_of(settings: Settings) -> Signer:
    """The key of this installation, made when there is none yet. Raises SettingInvalid for one that cannot be used."""
    if settings.signing_key:
        return Signer(_private(settings.signing_key.encode(), "LOTGATE_SIGNING_KEY"))
    path = settings.home / KEY_FILE
    with suppress(FileExistsError):
        _make(path)
    try:
        return Signer(_private(path.read_bytes(), str(path)))
    except OSError as error:
        raise SettingInvalid(f"The signing key {path} cannot be read: {error.strerror}.") from None


def _make(path: Path) -> None:
    """Make a key where there is none. Raises FileExistsError; of several that try at once one makes it."""
    if path.exists():
        raise FileExistsError
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # Whole before it has its name, and at no moment readable by others.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    finally:
        draft.unlink()


def _private(pem: bytes, where: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingInvalid(f"{where} holds no private key; expected Ed25519 as PEM (PKCS #8).") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingInvalid(f"{where} holds a key of another kind; expected Ed25519.")
    return key


def read_public(pem: bytes) -> Ed25519PublicKey:
    """A public key. Raises ValueError for what is none."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is no public key as PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is a key of another kind than Ed25519")
    return key


def known_keys(settings: Settings, more: Iterable[bytes] = ()) -> dict[str, Ed25519PublicKey]:
    """The public keys that may have signed here, by their id: this installation's, those before it, and ``more`` (PEM).

    None is made for asking. Raises SettingInvalid for what cannot be used, ValueError for what of ``more`` is none.
    """
    found: list[Ed25519PublicKey] = []
    if settings.signing_key or (settings.home / KEY_FILE).exists():
        found.append(read_public(signer_of(settings).public.public_key.encode()))
    former = settings.home / FORMER_FILE
    if former.exists():
        try:
            found += [read_public(pem) for pem in _several(former.read_bytes())]
        except (OSError, ValueError) as error:
            raise SettingInvalid(f"The keys of before in {former} cannot be used: {error}.") from None
    for pems in more:
        found += [read_public(pem) for pem in _several(pems)]
    return {key_id_of(key): key for key in found}


def _several(pems: bytes) -> list[bytes]:
    """PEM blocks that lie one after the other; what is none stays whole, to be named as such."""
    end = b"-----END PUBLIC KEY-----"
    return [part + end for part in pems.split(end) if part.strip()] if end in pems else [pems]


def key_id_of(key: Ed25519PublicKey) -> str:
    """Short name of a key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def signed_bytes(lot: str, version: int, head: str, signed_at: str, key_id: str) -> bytes:
    """What is signed: one JSON array without white space, UTF-8 (docs/audit.md)."""
    return msgspec.json.encode([FORMAT, lot, version, head, signed_at, key_id])


def is_signed(signature: str, said: bytes, key: Ed25519PublicKey) -> bool:
    """Did the holder of ``key`` make the signature (Base64) over ``said``?"""
    try:
        key.verify(base64.b64decode(signature, validate=True), said)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def unsealed(seal: Seal, key: Ed25519PublicKey) -> str | None:
    """Why the holder of ``key`` did not sign the file; None: the holder did."""
    if not is_signed(seal.signature, sealed_bytes(seal.format, seal.digest, seal.signed_at, seal.key_id), key):
        return f"it was not signed by the key {key_id_of(key)}, or its seal was changed"
    return None if seal.key_id == key_id_of(key) else "its seal names another key than signed it"


def problem_of(checkpoint: Checkpoint, key: Ed25519PublicKey) -> str | None:
    """Why the holder of ``key`` did not make the checkpoint; None: the holder did."""
    if checkpoint.format != FORMAT:
        return f"the checkpoint is of the format {checkpoint.format}; this release reads {FORMAT}"
    said = signed_bytes(checkpoint.lot, checkpoint.version, checkpoint.head, checkpoint.signed_at, checkpoint.key_id)
    if not is_signed(checkpoint.signature, said, key):
        return f"the checkpoint was not signed by the key {key_id_of(key)}, or was changed"
    return None if checkpoint.key_id == key_id_of(key) else "the checkpoint names another key than signed it"


def contradiction(checkpoint: Checkpoint, lot: str, entry_of: Callable[[int], Entry | None]) -> str | None:
    """Why a checkpoint is not of this journal; None: it is."""
    entry = entry_of(checkpoint.version)
    if checkpoint.lot != lot:
        return f"the checkpoint is of {checkpoint.lot}, the journal of {lot}"
    if entry is None:
        return f"the checkpoint of {checkpoint.signed_at} is of version {checkpoint.version}, which the journal lacks"
    if entry.hash != checkpoint.head:
        at = f"the checkpoint of {checkpoint.signed_at}"
        return f"up to version {checkpoint.version} the journal is not the one of {at}"
    return None
