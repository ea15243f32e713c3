"""Download the one image or PDF that the user named by URL; and the rules for every connection."""

import os
import time
import urllib.error
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from eyas.errors import InputError

MAX_BYTES = 256 * 2**20
CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 120.0
_CHUNK = 1 << 16


def fetch(url: str) -> bytes:
    """The bytes that `url` (http or https) holds.

    At most three redirects are followed, to http or https, never from https down to http. Nothing else is contacted.
    Raises InputError: offline, another scheme, refused, not found, too slow, too large.
    """
    name = public_name(url)
    parts = _checked(url, name)
    deadline = time.monotonic() + TOTAL_SECONDS
    request = Request(urlunsplit(parts), headers={"User-Agent": "eyas"})
    try:
        with opener().open(request, timeout=CONNECT_SECONDS) as response:
            return _body(response, name, deadline)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"cannot download {name}: the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"cannot download {name}: {getattr(error, 'reason', error)}") from error


def public_name(url: str) -> str:
    """`url` without what may be secret: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "the URL"


def offline() -> bool:
    """Whether EYAS_OFFLINE says that nothing may be fetched."""
    return os.environ.get("EYAS_OFFLINE", "") not in ("", "0")


def _checked(url: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError as error:
        raise InputError(f"cannot download {name}: not a URL ({error})") from error
    if not usable:
        raise InputError(f"cannot download {name}: expected a URL that begins with http:// or https://")
    if offline():
        raise InputError(
            f"cannot download {name}: EYAS_OFFLINE is set, so nothing is fetched. Unset it, or pass a local file."
        )
    return parts


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect from http to http or https, and from https to https only."""

    max_redirections = 3

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            fp.close()
            raise InputError(
                f"cannot download {public_name(req.full_url)}: it redirects to {public_name(newurl)}, "
                "and a redirect may only lead to https, or from http to http."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener() -> OpenerDirector:
    """What opens http and https URLs: proxies of the environment, at most three redirects, none to a lesser scheme.

    A redirect that leads elsewhere raises InputError.
    """
    # Not build_opener(): that adds file:, ftp: and data: handlers.
    director = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        _Redirects(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        director.add_handler(handler)
    return director


def _body(response: HTTPResponse, name: str, deadline: float) -> bytes:
    data = bytearray()
    while chunk := response.read(_CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise InputError(f"cannot download {name}: it is larger than {MAX_BYTES // 2**20} MiB")
        if time.monotonic() > deadline:
            raise InputError(f"cannot download {name}: not done after {TOTAL_SECONDS:.0f} seconds")
    if response.length:  # what the server announced and did not send
        raise InputError(f"cannot download {name}: the connection ended {response.length:,} bytes too early")
    return bytes(data)
