"""HTTP sessions: whom they trust, which proxy they go through, and what may go wrong in them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi
from yarl import URL

TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""What a call raises that brought no answer."""
KEPT_SECONDS = 60.0  # the service closes idle connections on its own; aiohttp notices
TRANSFER_SECONDS, SILENT_SECONDS = 600.0, 120.0  # of a file, and between two parts of it
_ENCODINGS = frozenset({"Accept", "Accept-Encoding"})  # answers are short
_UNSIGNED = frozenset({"Content-Type"})  # a URL may be signed for none


def service_session(url: str, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """Return a session for calls of the service at `url`, for the event loop that runs.

    Its proxy is looked up now: looking at every call costs more than the call.
    """
    return aiohttp.ClientSession(
        connector=_connector(),
        headers=headers,
        proxy=proxy_for(url),
        skip_auto_headers=_ENCODINGS,
        middlewares=(_once,),
    )


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send once: aiohttp repeats a GET, and one that says `first=1` must not come twice.

    It repeats on these errors; of another one it knows nothing.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"no answer: {error}") from error


def transfer_session(url: URL) -> aiohttp.ClientSession:
    """Return a session for a file at this URL, for the event loop that runs."""
    timeout = aiohttp.ClientTimeout(
        total=TRANSFER_SECONDS, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS
    )
    return aiohttp.ClientSession(
        connector=_connector(),
        timeout=timeout,
        proxy=proxy_for(str(url)),
        requote_redirect_url=False,
        skip_auto_headers=_UNSIGNED,
    )


def exact(url: str) -> URL:
    """Return a URL that is sent as it stands: one that was signed is another one quoted anew.

    Raises one of `TRANSPORT_ERRORS` for what is no URL.
    """
    try:
        return URL(url, encoded="%" in url)
    except ValueError:
        raise aiohttp.InvalidURL("a URL of a job") from None  # it is a secret


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment, or else the system, names for this URL."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS, ssl=_trust())


def _trust() -> ssl.SSLContext:
    """Trust whom the system trusts, and Mozilla's list: a new Windows fetches its own late.

    Whoever names certificates by SSL_CERT_FILE or SSL_CERT_DIR means those.
    """
    context = ssl.create_default_context()
    if not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys():
        context.load_verify_locations(certifi.where())
    return context
