"""Reading the body of an answer: inflated, bounded, whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping

from app.base.errors import AnswerTooLarge, BadResponse
from app.base.text import cut_short

_PIECE_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def read_body(read: Callable[[int], bytes], headers: Mapping[str, str], url: str, largest: int) -> bytes:
    """Read and inflate the whole body, never more than `largest` bytes of it, nor of what it came as.

    `read` gives up to so many bytes as they came, none at the end; `url` is for messages, without its query.
    Raises AnswerTooLarge, BadResponse for an encoding that was not asked for, zlib.error where it is
    damaged or ends early, and what the connection raises.
    """
    declared = headers.get("Content-Length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > largest):
        raise _too_large(url, largest)
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise BadResponse(
            f"microshare: {url} answers in the encoding {cut_short(encoding, 40)!r}, "
            f"which was not asked for; check the proxies between this host and the API"
        )
    gzip = _Gzip() if "gzip" in encoding else None
    parts: list[bytes] = []
    came = held = 0
    # Inflated here, not by urllib3: it takes a gzip stream that ends early for a complete one.
    while piece := read(_PIECE_BYTES):
        came += len(piece)
        for part in gzip.inflated(piece) if gzip else (piece,):
            parts.append(part)
            held += len(part)
            if max(came, held) > largest:
                # Whoever keeps the error keeps this frame, and would keep the body.
                parts.clear()
                raise _too_large(url, largest)
    if gzip and came and not gzip.is_whole:
        raise zlib.error("the gzip stream does not end where the body does")
    return b"".join(parts)


class _Gzip:
    """Inflates gzip as `gzip -d` does: members one after the other (RFC 1952, 2.2), zeros after each."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = zlib.decompressobj(_GZIP)

    @property
    def is_whole(self) -> bool:
        """Whether what came ends where a member ends."""
        return self._member is None

    def inflated(self, piece: bytes) -> Iterator[bytes]:
        """Give what a piece inflates to, bit by bit: it may be a thousand times as long."""
        while piece:
            if self._member is None:
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                self._member = zlib.decompressobj(_GZIP)
            yield self._member.decompress(piece, _PIECE_BYTES)
            piece = self._member.unconsumed_tail
            if self._member.eof:
                piece = self._member.unused_data
                self._member = None


def _too_large(url: str, largest: int) -> AnswerTooLarge:
    return AnswerTooLarge(
        f"microshare: the answer of {url} is over {largest:,} bytes; ask for less at a time"
    )
