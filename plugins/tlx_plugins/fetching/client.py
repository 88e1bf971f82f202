"""Asking one address for its image: http and https only, guarded addresses, no surprises.

A list of addresses is a stranger's text, and so is every redirect. A connection is used only after
its far end was looked at: a name that leads into the own machine or network is refused, however
often it changes between two look-ups.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from tlx.errors import UsageError
from tlx_plugins.fetching.failure import Failure
from tlx_plugins.fetching.pace import Pace

AGENT = "tlx-fetch (+labelled images for research)"
_LONGEST = 8192
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_KNOWN = frozenset({18, 19, 20, 21, 24})
"""OpenSSL's codes for a chain that ends in nobody who is known (``X509_V_ERR_...``)."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Access:
    """What the client may do.

    Attributes:
        allow_private: Also connect to loopback, private and other addresses that are not public.
        redirects: How many redirects of one address are followed.
        timeout: Seconds without any byte, and for a whole set of headers.
        token: Value of the header ``Authorization``, None for none.
        token_hosts: The only hosts that ever see the token.
        ca: A file of certificates to trust besides the usual ones.
    """

    allow_private: bool = False
    redirects: int = 5
    timeout: float = 30.0
    token: str | None = field(default=None, repr=False)
    token_hosts: frozenset[str] = frozenset()
    ca: Path | None = None

    def without_token(self, text: str) -> str:
        """A text of a server, which may say the token again, without it."""
        secret = (self.token or "").rpartition(" ")[2]
        return text.replace(secret, "***") if secret else text


class Client:
    """Opens addresses; used by all workers at once.

    Args:
        access: What it may do.
        pace: Whose turn it is.
        workers: How many use it at once.
    """

    def __init__(self, access: Access, pace: Pace, workers: int) -> None:
        self.access = access
        self.pace = pace
        self._live: WeakSet[HTTPConnection] = WeakSet()
        trust = _trust(access.ca)
        direct = urllib3.PoolManager(num_pools=64, maxsize=workers, ssl_context=trust)
        self._direct = _guarded(direct, access, self._live)
        self._proxies = {
            scheme: _proxied(address, workers, trust)
            for scheme, address in getproxies().items()
            if scheme in {"http", "https"}
        }

    def hang_up(self) -> None:
        """End all requests at once: whoever reads is called back."""
        for connection in list(self._live):
            with suppress(OSError, AttributeError, ValueError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def open(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask for an address and follow its redirects.

        Args:
            url: The address.
            headers: More headers, sent to every hop.

        Returns:
            The response to the last hop, whatever its status, its body not read yet.

        Raises:
            Failure: If there is no response.
            Stopped: If the job is over.
        """
        seen: set[str] = set()
        first = check_address(url)
        for _ in range(self.access.redirects + 1):
            parts = check_address(url)
            seen.add(url)
            response = self._ask(url, parts, headers, first)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.release_conn()
            response.close()
            url = _joined(url, location)
            if self.access.without_token(url) != url:
                raise Failure("token-in-the-clear", "is led to an address with the token in it.")
            if url in seen:
                raise Failure("redirect-loop", f"is led in a circle to {shown(url)}.")
        raise Failure(
            "redirect-loop", f"is led on more than {self.access.redirects} times; last to "
            f"{shown(url)}."
        )  # fmt: skip

    def _ask(
        self, url: str, parts: SplitResult, headers: dict[str, str], first: SplitResult
    ) -> urllib3.BaseHTTPResponse:
        host = (parts.hostname or "").lower()
        sent = {"User-Agent": AGENT, "Accept": "image/*,*/*;q=0.1", "Accept-Encoding": "identity"}
        sent |= headers
        if self.access.token is not None and host in self.access.token_hosts:
            self._check_token_way(parts, host, first)
            sent["Authorization"] = self.access.token
        self.pace.enter(parts.netloc.lower())
        try:
            return self._manager(parts, host).urlopen(
                "GET",
                url,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=self.access.timeout, read=self.access.timeout),
            )
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise explained(error) from error

    def _check_token_way(self, parts: SplitResult, host: str, first: SplitResult) -> None:
        """Refuse to send the token where anybody on the way could read it.

        Within the own network, which the user allowed, that is how it is; but a server that was
        asked over https must not lead there.
        """
        if parts.scheme == "https":
            return
        if first.scheme == "https" or not self.access.allow_private or not _is_private(host):
            led = "is led from https to http" if first.scheme == "https" else "is http"
            raise Failure(
                "token-in-the-clear",
                f"{led}, and {host} would get the token where anybody on the way can read it; "
                "name it by https.",
            )

    def _manager(self, parts: SplitResult, host: str) -> urllib3.PoolManager:
        proxy = self._proxies.get(parts.scheme)
        if proxy is None or proxy_bypass(host):
            return self._direct
        if not self.access.allow_private:
            # The proxy connects, so all that can be looked at here is what the name says.
            _check_name(host)
        return proxy


def check_address(url: str) -> SplitResult:
    """Refuse what is no address of something on the web.

    Raises:
        Failure: Says why.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Failure("bad-address", f"is no address: {error}.") from error
    if parts.scheme.lower() not in {"http", "https"}:
        scheme = parts.scheme[:20] or "none"
        raise Failure("bad-address", f"has the scheme {scheme!r}; only http and https are fetched.")
    if not host or len(url) > _LONGEST or any(ord(char) < 32 for char in url):
        raise Failure("bad-address", "is no address: no host, too long, or control characters.")
    if parts.username is not None or parts.password is not None:
        raise Failure(
            "bad-address", "holds a user name or a password; give a token by --token-variable."
        )
    return parts


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also inside an IPv6 one.

    >>> is_public("127.0.0.1"), is_public("::ffff:10.0.0.1"), is_public("1.1.1.1")
    (False, False, True)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def shown(url: str) -> str:
    """An address for a sentence."""
    return url if len(url) <= 200 else url[:197] + "..."


def _refuse(host: str, address: str) -> Failure:
    return Failure(
        "private-address",
        f"{host} is {address}, which is not a public address; --allow-private lets it be asked.",
    )


def _check_name(host: str) -> None:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return  # Whoever connects will say so; a proxy may know names that are unknown here.
    for address in sorted(found):
        if not is_public(address):
            raise _refuse(host, address)


def _trust(ca: Path | None) -> ssl.SSLContext:
    """Whom to believe over TLS: what the system or ``SSL_CERT_FILE`` names, and a file besides.

    Raises:
        UsageError: If the file holds no certificate.
    """
    context = create_urllib3_context()
    context.load_default_certs()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca.expanduser())
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{ca} holds no certificate that can be read: {error.strerror or error}.",
                hint="Give a file in PEM form with --ca: -----BEGIN CERTIFICATE----- ...",
            ) from error
    return context


def _is_private(host: str) -> bool:
    """Whether a name leads into the own machine or network only."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return not any(map(is_public, found))


def _proxied(address: str, workers: int, trust: ssl.SSLContext) -> urllib3.PoolManager:
    """A manager that asks through a proxy of the environment (``https_proxy``).

    Raises:
        UsageError: If it is no proxy for http.
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login) if parts.username else None
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return urllib3.ProxyManager(
            place,
            64,
            proxy_headers=headers,
            maxsize=workers,
            ssl_context=trust,
            proxy_ssl_context=trust,
        )
    except (exceptions.HTTPError, ValueError) as error:
        raise UsageError(
            f"the proxy of the environment cannot be used: {error}.",
            hint="Mend or unset the variables http_proxy and https_proxy.",
        ) from error


def _guarded(
    manager: urllib3.PoolManager, access: Access, live: WeakSet[HTTPConnection]
) -> urllib3.PoolManager:
    """Make a manager's connections look at their far end before anything is sent."""

    def connect(connection: HTTPConnection, new: Callable[[], socket.socket]) -> socket.socket:
        if not access.allow_private:
            _check_name(connection.host)
        sock = new()
        address = str(sock.getpeername()[0])
        # The name may lead elsewhere by now: only the far end itself tells.
        if not access.allow_private and not is_public(address):
            sock.close()
            raise _refuse(connection.host, address)
        live.add(connection)
        return sock

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

        def getresponse(self) -> Any:
            with _Watch(self.sock, access.timeout):
                return super().getresponse()

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

        def getresponse(self) -> Any:
            with _Watch(self.sock, access.timeout):
                return super().getresponse()

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


class _Watch:
    """Hangs up when headers come byte by byte and never end: each byte is in time, the whole not.

    Args:
        sock: The connection.
        seconds: How long the headers may take.
    """

    def __init__(self, sock: Any, seconds: float) -> None:
        self.sock = sock
        self.late = False
        self.timer = threading.Timer(seconds, self._hang_up)
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()
        if self.late:
            # Cut-off headers would otherwise pass for an answer without a body.
            raise Failure("timeout", "does not end its headers in time.", again=True)

    def _hang_up(self) -> None:
        self.late = True
        with suppress(OSError, AttributeError, ValueError):  # It may be closed by now.
            self.sock.shutdown(socket.SHUT_RDWR)


def _joined(url: str, location: str) -> str:
    with suppress(UnicodeError):
        # Headers come as Latin-1, while servers write addresses in UTF-8.
        location = location.encode("latin-1").decode()
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Failure("bad-address", f"is led to {shown(location)}, no address.") from error


def explained(error: Exception) -> Failure:
    """What a failed request says to people, and whether another attempt may help."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, exceptions.SSLError):
        return Failure("tls", _tls(error))
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return Failure("timeout", "does not answer in time.", again=True)
    if isinstance(error, exceptions.NameResolutionError):
        return Failure("unknown-host", "has a host name that nobody knows.", again=True)
    if isinstance(error, exceptions.IncompleteRead):
        return Failure("cut-off", "ended before all of it had come.", again=True)
    if isinstance(error, ValueError):
        return Failure("bad-address", f"cannot be asked: {text}.")
    return Failure("no-connection", f"broke off: {text}.", again=True)


def _tls(error: exceptions.SSLError) -> str:
    """What a failed handshake says to people."""
    cause = next((part for part in error.args if isinstance(part, ssl.SSLError)), error.__cause__)
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = cause.verify_message.rstrip(".")
        if cause.verify_code in _NOT_KNOWN:
            return (
                f"has a certificate that is not trusted here ({text}); if it is right, name the "
                "file of its authority with --ca, or in SSL_CERT_FILE."
            )
        return f"has a certificate that is not its own or out of date: {text}."
    return f"cannot be asked over TLS: {' '.join(str(cause or error).split())[:200]}."
