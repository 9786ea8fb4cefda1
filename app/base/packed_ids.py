"""Ids of readings as one text: a set of thousands of them in a tenth of the memory."""

from __future__ import annotations

import functools
import re
import string
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator, Set

ID_LENGTH = 16
_BYTES = ID_LENGTH * 3 // 4
ID_CHARACTERS = (string.ascii_letters + string.digits + "_-").encode()
_EACH = re.compile(f".{{{ID_LENGTH}}}", re.DOTALL)


class PackedIds(Set[str]):
    """A set of ids, `text` being all of them, each once, sorted and joined: no other characters are in it.

    They are taken apart where one looks into the set; what was looked into last stays so for a while.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __contains__(self, reading_id: object) -> bool:
        return reading_id in _apart(self.text)

    def __iter__(self) -> Iterator[str]:
        return iter(_EACH.findall(self.text))

    def __len__(self) -> int:
        return len(self.text) // ID_LENGTH

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedIds):
            return self.text == other.text
        return _apart(self.text) == other

    def __repr__(self) -> str:
        return f"PackedIds({self.text!r})"

    @classmethod
    def _from_iterable(cls, ids: Iterable[str]) -> Set[str]:  # type: ignore[override]  # what `&` and `-` make
        return frozenset(ids)


def are_of_ids(text: str) -> bool:
    """Whether a text has no characters but those of ids."""
    return not text.encode("utf-8", "surrogatepass").translate(None, ID_CHARACTERS)


def packed(ids: Iterable[str]) -> Set[str]:
    """Give ids as a set that takes little memory."""
    if isinstance(ids, PackedIds):
        return ids
    found = frozenset(ids)
    text = "".join(sorted(found))
    # What has another length is no reading's id, and could not be told apart in a text.
    return PackedIds(text) if set(map(len, found)) == {ID_LENGTH} and are_of_ids(text) else found


def joined(one: Set[str], other: Set[str]) -> Set[str]:
    """Give the ids of both, packed."""
    if not one:
        return packed(other)
    return packed(unpacked(one) | unpacked(other))


def unpacked(ids: Set[str]) -> frozenset[str]:
    """Give ids as a set that is quick to look into many times."""
    return _apart(ids.text) if isinstance(ids, PackedIds) else frozenset(ids)


def decoded(ids: Iterable[str]) -> list[bytes]:
    """Give what ids are base64 of."""
    if isinstance(ids, PackedIds):
        # Each is 12 bytes, with nothing to fill them up.
        joint = urlsafe_b64decode(ids.text)
        return [joint[at : at + _BYTES] for at in range(0, len(joint), _BYTES)]
    return [urlsafe_b64decode(reading_id) for reading_id in ids]


# The hours of a day, of some locations that are being worked on.
@functools.lru_cache(maxsize=128)
def _apart(text: str) -> frozenset[str]:
    return frozenset(_EACH.findall(text))
