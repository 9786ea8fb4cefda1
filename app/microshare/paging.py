"""Reading an answer page by page, and telling whether the pages make a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.base import exact_json, extended_json
from app.base.errors import BadResponse, NoPermission
from app.base.readings import JsonObject
from app.base.text import counted, cut_short
from app.microshare.verdict import Question

PER_PAGE = 999
# Gives the page of a number, of so many bytes at most.
FetchPage = Callable[[int, int], "Page"]
_MOST_PAGES = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page and what its envelope states; None where it states nothing usable."""

    objs: tuple[Any, ...] = field(repr=False)
    total_pages: int | None
    per_page: int | None
    total_count: int | None
    body_bytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """All pages, in the order they came. `flaw` says why they do not make a whole, None where they do."""

    objs: tuple[Any, ...] = field(repr=False)
    flaw: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pass:
    """One reading of all pages; `fingerprints` holds a hash of each object, nothing for a single page."""

    pages: tuple[Page, ...]
    fingerprints: tuple[tuple[bytes, ...], ...]

    @property
    def objs(self) -> tuple[Any, ...]:
        return tuple(obj for page in self.pages for obj in page.objs)

    @property
    def distinct(self) -> int:
        return len({fingerprint for page in self.fingerprints for fingerprint in page})

    @property
    def totals(self) -> set[int | None]:
        return {page.total_count for page in self.pages}

    @property
    def is_single(self) -> bool:
        """Whether there was one page only, an empty one asked for on the count's word aside."""
        first = self.pages[0]
        return len(self.pages) == 1 or (not first.total_pages and not self.pages[1].objs)

    @property
    def counts_beyond(self) -> bool:
        """Whether totalCount is over all that the stated pages could hold: then it counts a platform."""
        first = self.pages[0]
        return bool(
            first.total_pages and (first.total_count or 0) > first.total_pages * (first.per_page or PER_PAGE)
        )


def read_page(question: Question, found: JsonObject, body_bytes: int, warnings: tuple[str, ...]) -> Page:
    """Make a page of an answer's JSON: what stands in its list may be no object.

    Raises BadResponse where there is no list.
    """
    objs = found.get("objs")
    if not isinstance(objs, list):
        names = cut_short(", ".join(sorted(map(repr, found))), 200)
        raise BadResponse(
            f"microshare: {question.name}: an answer without a list 'objs', but with {names or 'nothing'}; "
            f"if that lasts, ask Microshare"
        )
    meta = found.get("meta")
    if meta is not None and not isinstance(meta, Mapping):
        warnings = (
            *warnings,
            "a 'meta' that is not a readable object; the answer is taken for its only page",
        )
    stated = meta if isinstance(meta, Mapping) else {}
    return Page(
        objs=tuple(objs),
        total_pages=_count(stated.get("totalPages")),
        per_page=_count(stated.get("perPage")),
        total_count=_count(stated.get("totalCount")),
        body_bytes=body_bytes,
        warnings=warnings,
    )


def read_all_pages(question: Question, fetch: FetchPage, *, largest_bytes: int) -> Pages:
    """Read every page, all of them once more where they do not add up.

    Pages shift while they are read: an object that is removed or added moves another out of
    sight. So several pages are a whole only if their distinct objects are as many as every
    page states in total; or if the objects are that many with some repeated, and a second
    pass gives exactly the same, which no shift does. `fetch` is told which page to give, and of how
    many bytes at most: all pages together are no more than `largest_bytes`.

    Raises NoPermission where objects are counted but none is shown, BadResponse where pages
    repeat or never end, and what `fetch` does.
    """
    first = _read_once(question, fetch, largest_bytes)
    if _flaw(first) is None:
        return Pages(first.objs, None, _warnings(first))
    # What the first pass held makes room for the second.
    shown_before = first.fingerprints
    del first
    second = _read_once(question, fetch, largest_bytes)
    same = second.fingerprints == shown_before and second.totals == {len(second.objs)}
    return Pages(second.objs, None if same else _flaw(second), _warnings(second))


def _read_once(question: Question, fetch: FetchPage, largest_bytes: int) -> _Pass:
    pages: list[Page] = []
    fingerprints: list[tuple[bytes, ...]] = []
    left = largest_bytes
    while len(pages) < _MOST_PAGES:
        page = fetch(len(pages) + 1, left)
        left -= page.body_bytes
        pages.append(page)
        if len(pages) == 1 and not page.objs and page.total_count:
            raise NoPermission(
                f"microshare: {question.name}: {counted(page.total_count, 'object')} "
                f"{'is' if page.total_count == 1 else 'are'} counted and none is shown: "
                f"the account lacks read rights; have them granted on {question.id}, and check "
                f"MICROSHARE_IDENTITY"
            )
        last = _is_last(pages)
        if len(pages) > 1 or not last:
            fingerprints.append(tuple(map(_fingerprint, page.objs)))
        if len(pages) > 1 and page.objs and fingerprints[-1] == fingerprints[-2]:
            raise BadResponse(
                f"microshare: {question.name}: page {len(pages)} is the page before it again: "
                f"the API does not turn pages here; ask for less at a time"
            )
        if last:
            return _Pass(tuple(pages), tuple(fingerprints))
    raise BadResponse(f"microshare: {question.name}: more than {_MOST_PAGES:,} pages; ask for less at a time")


def _is_last(pages: list[Page]) -> bool:
    page = pages[-1]
    if not page.objs:
        return True
    if page.total_pages:
        return len(pages) >= page.total_pages
    # Without a number of pages, the count alone says that there is more.
    return sum(len(page.objs) for page in pages) >= (page.total_count or 0)


def _flaw(found: _Pass) -> str | None:
    if found.is_single:
        return None
    if found.totals == {found.distinct}:
        return None
    stated_pages = max(page.total_pages or 0 for page in found.pages)
    if stated_pages > len(found.pages):
        return f"the pages end with {len(found.pages)} of {stated_pages}"
    if found.counts_beyond or None in found.totals:
        return None
    stated = " then ".join(str(page.total_count) for page in found.pages)
    held = counted(found.distinct, "different object")
    return f"{len(found.pages)} pages hold {held}, and state a total of {stated}"


def _warnings(found: _Pass) -> tuple[str, ...]:
    said = [warning for page in found.pages for warning in page.warnings]
    first = found.pages[0]
    shown = len(found.objs)
    if found.counts_beyond:
        pages = counted(first.total_pages or 0, "page")
        said.append(
            f"a totalCount of {first.total_count} is more than {pages} can hold; it is "
            "taken for a count of the whole platform and ignored"
        )
    elif found.is_single and first.total_count not in (None, shown):
        said.append(
            f"a totalCount of {first.total_count} on one page of {counted(shown, 'object')}; all were taken"
        )
    elif not found.is_single and None in found.totals:
        said.append(
            f"no totalCount on every one of {len(found.pages)} pages; nothing tells if they are whole"
        )
    return tuple(dict.fromkeys(said))


def _count(stated: Any) -> int | None:
    count = extended_json.whole_number(stated)
    return count if count is not None and count >= 0 else None


def _fingerprint(obj: Any) -> bytes:
    return hashlib.sha256(exact_json.dumps_with_flaws(obj)).digest()
