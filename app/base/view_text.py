"""What a text may not hold that goes into a dashboard view. Pure.

A view puts the values it is given into a database query as text: a quote in one ends the text it
stands in, `${...}`, `@{...}` and `@name{...}` are the view's own language (MVEL), and in an expression of
MongoDB a text that begins with `$` is a field or a variable. Whoever may name a device must not be able to
ask with this forwarder's rights.
"""

from __future__ import annotations

import re
import unicodedata

# Names of buildings and tags are some dozens of characters; what is kept of each is kept for good.
LONGEST_CHARACTERS = 256
_EXPRESSION = re.compile(r"[$@]\w*\s*[{}]|[{}]\s*\$")
# Control characters, halves of surrogate pairs, line and paragraph separators.
_NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})


def unfit_for_view(text: str) -> str | None:
    """Say what in a text a view could take for a part of its query, or is too long for one; else None."""
    if len(text) > LONGEST_CHARACTERS:
        return f"is longer than {LONGEST_CHARACTERS} characters"
    if '"' in text:
        return 'holds a double quote (")'
    if "\\" in text:
        return "holds a backslash"
    if _EXPRESSION.search(text):
        return "holds $ or @ next to a brace, which a view evaluates"
    if text.lstrip().startswith("$"):
        return "begins with $, as a field of the database does"
    if not text.isprintable() and any(unicodedata.category(character) in _NO_TEXT for character in text):
        return "holds a control character"
    return None
