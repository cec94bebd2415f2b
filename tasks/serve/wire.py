"""httpx requests over aiohttp's connections.

httpx's own pool looks at every connection for every request: with 64 requests in flight a call
costs more of the processor than everything else that is done for it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 10.0


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries whole requests and whole answers; connections are made at the first one.

    Args:
        connections: at one time.
        socket: of a server on this machine that has no port; None: the URL says where to connect.
    """

    def __init__(self, connections: int, socket: Path | None = None) -> None:
        import aiohttp

        self._socket = socket
        self._aiohttp = aiohttp
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its answer.

        Raises:
            httpx.TimeoutException: of the request's own timeouts.
            httpx.RequestError: no connection, or it broke.
        """
        aiohttp = self._aiohttp
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                # Bodies are bytes of ours or the server's; nothing is decoded twice.
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        given = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=given.get("connect") or CONNECT_TIMEOUT_S,
            sock_read=given.get("read"),
        )
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                data=await request.aread() or None,
                headers=request.headers.multi_items(),
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                return httpx.Response(
                    answer.status,
                    headers=[(name, value) for name, value in answer.headers.items()],
                    content=await answer.read(),
                    request=request,
                )
        except aiohttp.ServerTimeoutError as error:
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            kind = httpx.ConnectTimeout if connecting else httpx.ReadTimeout
            raise kind(str(error), request=request) from error
        except (aiohttp.ClientError, OSError) as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            kind_of = httpx.ConnectError if refused else httpx.ReadError
            raise kind_of(f"{type(error).__name__}: {error}", request=request) from error

    def _connector(self) -> "aiohttp.BaseConnector":
        if self._socket is None:
            return self._aiohttp.TCPConnector(limit=self._connections)
        return self._aiohttp.UnixConnector(str(self._socket), limit=self._connections)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
