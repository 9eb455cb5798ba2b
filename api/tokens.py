"""Who a user's token says he is: HS256 by the secret, ES256 and RS256 by the keys of a JWKS.

The algorithm follows from the key, never from the token alone: a token cannot choose to be checked
with a public key as if that were a secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any
from uuid import UUID

import jwt
import orjson

from api.errors import Problem
from api.settings import Settings

log = logging.getLogger("api.tokens")

AUDIENCE = ROLE = "authenticated"
REQUIRED = ["exp", "aud", "sub", "role"]
LONGEST_TOKEN = 8192
KEPT_TOKENS = 10_000

JWKS_BYTES = 65536
JWKS_KEYS = 20
JWKS_SECONDS = 600.0  # how long fetched keys are used without another look
JWKS_PAUSE = 10.0  # between two looks, whatever tokens come in
JWKS_TIMEOUT = 5.0
_ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}


@dataclass(frozen=True, slots=True)
class User:
    """A user, and what row level security is told of him."""

    user_id: UUID
    claims: Mapping[str, Any]
    expires: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class _Verified:
    """Whom a token named, and with which key it was verified; only those of a JWKS have an id."""

    user: User
    key_id: str | None
    key: Any


class Tokens:
    """Verifies tokens; raises the problem `token_invalid`, and nothing about why.

    A token that was verified is known by its digest as long as it is valid, and as long as its key
    is: verifying it anew took 100 of 770 microseconds of a small request.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`, in seconds, says how old the keys of a JWKS are."""
        self._secret = settings.jwt_secret
        self._issuer = settings.jwt_issuer
        self._keys = Keys(_fetcher(settings.jwks_url), clock) if settings.jwks_url else None
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def user(self, token: str) -> User:
        """Return the user of a valid token."""
        if len(token) > LONGEST_TOKEN:
            raise Problem("token_invalid")
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._verified.get(digest)) is not None and await self._valid(known):
            return known.user
        self._verified.pop(digest, None)
        verified = await self._verify(token)
        self._verified[digest] = verified
        while len(self._verified) > KEPT_TOKENS:
            self._verified.popitem(last=False)
        return verified.user

    async def _valid(self, known: _Verified) -> bool:
        """Tell whether it would be verified again: its time is not over, its key still stands."""
        if int(known.user.expires) <= time.time():
            return False
        if known.key_id is None:
            return True
        return self._keys is not None and await self._keys.get(known.key_id) is known.key

    async def _verify(self, token: str) -> _Verified:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id, key = await self._key(header)
            claims = jwt.decode(
                token,
                key.key if isinstance(key, jwt.PyJWK) else key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": REQUIRED},
            )
            return _Verified(_user(claims), key_id, key)
        except (jwt.PyJWTError, ValueError) as error:
            raise Problem("token_invalid") from error

    async def _key(self, header: Mapping[str, Any]) -> tuple[str, str | None, Any]:
        """Return the algorithm, the key's id where it is one of a JWKS, and the key."""
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret:
            return "HS256", None, self._secret
        if self._keys is None or algorithm not in _ALGORITHMS.values():
            raise Problem("token_invalid")
        key_id = str(header.get("kid"))
        key = await self._keys.get(key_id)
        if key is None or _ALGORITHMS.get(key.key_type or "") != algorithm:
            raise Problem("token_invalid")
        return str(algorithm), key_id, key


def issue(secret: str, user_id: UUID, email: str, seconds: float) -> str:
    """Return a token of ours, for databases where nobody else issues them."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(user_id),
        "email": email,
        "aud": AUDIENCE,
        "role": ROLE,
        "iat": now,
        "exp": now + timedelta(seconds=seconds),
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def _user(claims: Mapping[str, Any]) -> User:
    """Read the claims; another role than a user's, the service's for example, is not let in."""
    if claims["role"] != ROLE:
        raise Problem("token_invalid")
    user_id = UUID(claims["sub"])
    told = {name: claims[name] for name in ("aud", "email") if isinstance(claims.get(name), str)}
    return User(user_id, {**told, "sub": str(user_id), "role": ROLE}, float(claims["exp"]))


class Keys:
    """The keys of a JWKS by their ids: fetched once, again when they are old or an id is unknown.

    However many tokens come, there is one fetch per ten seconds at most. While the fetch fails,
    the keys of the last one go on; without any the problem is `tokens_unavailable`. One caller
    waits for the fetch, and those whose key is not known yet; the others go on with what is known.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """Return the key of that id."""
        if kid not in self._keys or (self._old() and not self._lock.locked()):
            async with self._lock:
                await self._refresh()
        if self._fetched == float("-inf"):
            raise Problem("tokens_unavailable")
        return self._keys.get(kid)

    def _old(self) -> bool:
        return self._clock() - self._fetched > JWKS_SECONDS

    async def _refresh(self) -> None:
        now = self._clock()
        if now - self._tried < JWKS_PAUSE:
            return
        self._tried = now
        try:
            self._keys = read_jwks(await self._fetch())
            self._fetched = now
        except (OSError, ValueError, TypeError, HTTPException, jwt.PyJWTError) as error:
            log.warning("the keys that verify tokens were not read: %r", error)


def read_jwks(text: bytes) -> dict[str, jwt.PyJWK]:
    """Return the keys that verify ES256 and RS256 signatures; others, secrets too, are left out."""
    usable = [
        entry
        for entry in _entries(orjson.loads(text))
        if entry.get("kty") == "RSA" or (entry.get("kty"), entry.get("crv")) == ("EC", "P-256")
    ]
    return {
        str(entry["kid"]): jwt.PyJWK(entry, algorithm=_ALGORITHMS[entry["kty"]])
        for entry in usable
        if "kid" in entry
    }


def _entries(jwks: Any) -> list[dict[str, Any]]:
    """Return what a JWKS lists; ValueError where it is none."""
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("a JWKS is an object whose `keys` are objects")
    return keys[:JWKS_KEYS]


def _fetcher(url: str) -> Callable[[], Awaitable[bytes]]:
    def fetch() -> bytes:
        with urllib.request.urlopen(url, timeout=JWKS_TIMEOUT) as response:  # noqa: S310 - ours
            found: bytes = response.read(JWKS_BYTES + 1)
        if len(found) > JWKS_BYTES:
            raise ValueError("the JWKS is too long")
        return found

    async def in_thread() -> bytes:
        return await asyncio.to_thread(fetch)

    return in_thread
