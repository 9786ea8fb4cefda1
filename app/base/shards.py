"""Which locations of a feed a run forwards, where several runs share the feed. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

# Each shard reads the feed's whole table and connects to each hub in every run, so that beyond some hundreds
# they cost more than they share out; and each has two rows, which all runs of the feed read.
MOST_SHARDS: Final = 256
_WRITTEN = re.compile(r"([0-9]{1,4})/([0-9]{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One of `of` parts of a feed, `index` counting from 0. People write 1/8 to 8/8.

    Each location is in exactly one of the shards of an `of`, the same on every host and in every version.
    Raises ValueError for what is no shard.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.of <= MOST_SHARDS:
            raise ValueError(f"{self.of} shards are not from 1 to {MOST_SHARDS}")
        if not 0 <= self.index < self.of:
            raise ValueError(f"there is no shard {self.index + 1} of {self.of}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read what people write, 2/8. Raises ValueError that says what to write."""
        found = _WRITTEN.fullmatch(text.strip())
        try:
            if found is not None:
                return cls(int(found[1]) - 1, int(found[2]))
            why = "is not a shard"
        except ValueError as error:
            why = f"is not a shard: {error}"
        raise ValueError(f"{text!r} {why}; write 1/N to N/N, N at most {MOST_SHARDS}: 2/8")

    @classmethod
    def of_location(cls, location: str, of: int) -> Shard:
        """Give the one of so many shards that holds a location."""
        # A name may hold a lone surrogate: JSON can.
        digest = hashlib.sha256(location.encode("utf-8", "surrogatepass")).digest()
        return cls(int.from_bytes(digest[:8], "big") % of, of)

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.of}"

    @property
    def number(self) -> int:
        """Give which one it is, counted as people do, from 1."""
        return self.index + 1

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole feed, which is run without shards."""
        return self.of == 1

    def holds(self, location: str) -> bool:
        return self.is_whole or Shard.of_location(location, self.of) == self


WHOLE: Final = Shard(0, 1)
