"""A web service with FastAPI: pages that no two change at once, and visits that an extension counts.

    .venv/bin/python -m examples.fastapi_service

That asks the service without a network. A server of ASGI takes it as ``examples.fastapi_service:app``; it finds Splinter by the
environment: ``SPLINTER_ADDRESS`` (address or address:port), ``SPLINTER_TENANT`` and ``SPLINTER_TOKEN``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from splinter import AsyncClient, errors, limits
from splinter.ext import Store, extension, u64

PAGES, VISITS = 1, 2  # tables; key: a page's name; value: a Page as JSON, its visits as u64
TIMEOUT_SECONDS = 0.5  # of a request to Splinter: less than whoever asks this service waits for
RETRY_SECONDS = 1

# The first that fits. What is behind a 500 is this service's mistake: its log tells, its caller need not know.
STATUSES: list[tuple[type[Exception], int]] = [
    (errors.VersionChangedError, 412),
    (errors.BadKeyError, 422),
    (errors.ValueTooLargeError, 413),
    (errors.QuotaExceededError, 507),
    (errors.OutOfMemoryError, 507),
    (errors.BusyError, 503),
    (errors.DiskFailedError, 503),
    (errors.RateLimitedError, 503),
    (errors.UnreachableError, 503),
    (errors.ControlConnectionError, 503),
    (errors.WrongTokenError, 500),
    (errors.RequestTimeoutError, 504),  # a write was executed once or not at all: whoever asks again should say If-Match
    (errors.ControlTimeoutError, 504),
    (errors.SplinterError, 500),
]
log = logging.getLogger(__name__)


class Page(BaseModel):
    """What is stored of a page."""

    title: str = Field(max_length=200)
    text: str = Field(max_length=100_000)


@extension
def visit(db: Store, page: bytes) -> u64:
    """Count a visit of a page, if there is one: how many it had; 0 where there is no page."""
    if not db.exists(1, page):
        return 0
    return db.add(2, page, 1)


def connect() -> AsyncClient:
    """A client by the environment; nothing is sent yet."""
    address, _, port = os.environ["SPLINTER_ADDRESS"].partition(":")
    tenant, token = int(os.environ["SPLINTER_TENANT"]), os.environ["SPLINTER_TOKEN"]
    return AsyncClient(address, tenant, token, port=int(port or limits.PORT_DEFAULT), timeout=TIMEOUT_SECONDS)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for each process, made in its event loop; the service's extension is installed anew with each start."""
    async with connect() as db:
        await db.install(visit, timeout=30.0)
        app.state.db = db
        yield


def database(request: Request) -> AsyncClient:
    """What handlers depend on; a test may override it."""
    db: AsyncClient = request.app.state.db
    return db


def failed(request: Request, error: Exception) -> JSONResponse:
    """What the caller is told of an exception of Splinter."""
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    if status >= 500:
        trace = error if status == 500 else None
        log.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error, exc_info=trace)
    told = "the store cannot be used at present" if status >= 500 else str(error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return JSONResponse({"detail": told}, status, headers)


app = FastAPI(title="Pages", lifespan=lifespan)
app.add_exception_handler(errors.SplinterError, failed)
Database = Annotated[AsyncClient, Depends(database)]


@app.get("/pages/{name}")
async def read(name: str, db: Database, response: Response) -> Page:
    """A page; its ETag is the version of the object."""
    found, version = await db.get_with_version(name, table=PAGES)
    if found is None:
        raise HTTPException(404, "there is no such page")
    response.headers["ETag"] = f'"{version}"'
    return Page.model_validate_json(found)


@app.put("/pages/{name}", status_code=204)
async def write(
    name: str, page: Page, db: Database, if_match: Annotated[str | None, Header(pattern=r'^"[1-9]\d{0,18}"$')] = None
) -> Response:
    """Store a page; with If-Match only where it is still the one that was read."""
    version = 0 if if_match is None else int(if_match.strip('"'))
    version = await db.put(name, page.model_dump_json().encode(), table=PAGES, if_version=version)
    return Response(status_code=204, headers={"ETag": f'"{version}"'})


@app.delete("/pages/{name}", status_code=204)
async def delete(name: str, db: Database) -> None:
    """Delete a page and its visits at one instant: nobody counts a visit in between."""
    async with db.transaction() as tx:
        tx.delete(name, table=PAGES)
        tx.delete(name, table=VISITS)


@app.post("/pages/{name}/visits")
async def count(name: str, db: Database) -> int:
    """Count a visit, in one round trip, whoever else does so at the time."""
    visits: int = await db.invoke("visit", name.encode())
    if visits == 0:
        raise HTTPException(404, "there is no such page")
    return visits


@app.get("/visits")
async def visits(name: Annotated[list[str], Query(max_length=100)], db: Database) -> dict[str, int]:
    """The visits of several pages."""
    found = await db.get_many(name, table=VISITS)
    return {one: int.from_bytes(visits or b"", "little") for one, visits in zip(name, found, strict=True)}


async def ask() -> None:
    """Ask the service, as its users would."""
    import httpx

    async with (
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pages") as http,
    ):
        tag = (await http.put("/pages/dog", json={"title": "Dog", "text": "barks"})).headers["ETag"]
        counted = [(await http.post("/pages/dog/visits")).json() for _ in range(3)]
        changes = [
            await http.put("/pages/dog", json={"title": "Dog", "text": text}, headers={"If-Match": tag})
            for text in ("wags its tail", "sleeps")
        ]
        told = [change.status_code for change in changes]
        print(f"visits {counted}; two changes of the same version: {told}; {(await http.get('/pages/dog')).json()}")


def main() -> None:
    """Start a server and ask the service."""
    from splinter.testing import running_server

    with running_server() as server:
        tenant = server.create_tenant()
        os.environ["SPLINTER_ADDRESS"] = f"{server.address}:{server.port}"
        os.environ["SPLINTER_TENANT"], os.environ["SPLINTER_TOKEN"] = str(tenant.tenant), f"{tenant.token:016x}"
        asyncio.run(ask())


if __name__ == "__main__":
    main()
