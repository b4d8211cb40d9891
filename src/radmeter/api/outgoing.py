"""What goes out: an answer as bytes, with its ETag and compressed, whole or a file part by part."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import IO
from urllib.parse import quote

from starlette.types import Scope, Send

from radmeter.api import encoding

# A client that takes nothing for so long is gone.
SEND_SECONDS = 60.0
PART_BYTES = 64 << 10
# Larger answers are compressed in a thread.
THREAD_FROM_BYTES = 128 << 10


async def send_body(
    send: Send,
    scope: Scope,
    headers: Mapping[str, str],
    status: int,
    reply: dict[str, str],
    body: bytes,
) -> None:
    """Send an answer whole, or say that the client has it already."""
    reply = {"cache-control": "private, no-cache", "vary": "Accept-Encoding, Authorization", **reply}
    tag = encoding.etag(body)
    if status == 200 and scope["method"] in ("GET", "HEAD"):
        reply["etag"] = tag
        if encoding.same_etag(headers.get("if-none-match", ""), tag, weak=True):
            await send_bytes(
                send, scope, 304, {name: reply[name] for name in reply if name != "content-type"}, b""
            )
            return
    if len(body) >= encoding.GZIP_FROM_BYTES and encoding.takes_gzip(headers.get("accept-encoding", "")):
        body = (
            await asyncio.to_thread(encoding.compressed, body)
            if len(body) >= THREAD_FROM_BYTES
            else encoding.compressed(body)
        )
        reply["content-encoding"] = "gzip"
        if "etag" in reply:
            reply["etag"] = encoding.gzip_etag(tag)
    await send_bytes(send, scope, status, reply, body)


async def send_file(
    send: Send, scope: Scope, headers: Mapping[str, str], reply: dict[str, str], file: IO[bytes]
) -> None:
    """Send a file in parts, as fast as the client takes them."""
    tag, size = await asyncio.to_thread(encoding.etag_and_size, file)
    reply = {
        "cache-control": "private, no-cache",
        "vary": "Accept-Encoding, Authorization",
        "etag": tag,
        **reply,
    }
    if encoding.same_etag(headers.get("if-none-match", ""), tag, weak=True):
        kept = ("content-type", "content-disposition")
        await send_bytes(send, scope, 304, {name: reply[name] for name in reply if name not in kept}, b"")
        return
    packer = None
    if encoding.takes_gzip(headers.get("accept-encoding", "")) and reply["content-type"].startswith("text/"):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        reply |= {"content-encoding": "gzip", "etag": encoding.gzip_etag(tag)}
    else:
        reply["content-length"] = str(size)
    await _start(send, 200, reply)
    if scope["method"] != "HEAD":
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            if packer is not None:
                part = packer.compress(part)
            if part:
                await _part(send, part, more=True)
        if packer is not None:
            await _part(send, packer.flush(), more=True)
    await _part(send, b"", more=False)


def download(name: str, media_type: str) -> dict[str, str]:
    """Return the headers of a file that is to be kept under a name."""
    # RFC 6266: a name with other letters, such as that of a tenant, is written as RFC 8187 says.
    given = f'filename="{name}"' if name.isascii() else f"filename*=UTF-8''{quote(name)}"
    return {"content-type": media_type, "content-disposition": f"attachment; {given}"}


async def send_bytes(send: Send, scope: Scope, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send an answer as it is."""
    if status != 304:
        headers = {**headers, "content-length": str(len(body))}
    await _start(send, status, headers)
    await _part(send, b"" if scope["method"] == "HEAD" else body, more=False)


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [
        (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _part(send: Send, part: bytes, *, more: bool) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": part, "more_body": more})
