"""What is secret by its shape, whoever wrote it: values under telling names, credentials in URLs, tokens.

Each shape is looked for in time that is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "***"

# Compared in small letters with `_` between words, after any others: client_secret, X-Api-Key, dbPassword.
_TELLING = re.compile(
    r".*password|(?:.*_)?(?:passwd|passphrase|pwd|secret|token|sig|signature|credentials?|assertion|apikey|api_key"
    r"|(?:account|access|private|secret|instrumentation|functions|subscription|master|host"
    r"|signing|encryption|decryption)_?key|shared_access_signature|authorization|cookie|play_session)"
)
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[.-]")
# IDToken; of APIkey it would make two words that tell nothing, so a name is looked at as it is, too.
_ACRONYM_ENDS = re.compile(r"(?<=[A-Z])(?=[A-Z][a-z])")
# No name that tells anything is longer.
_LONGEST_NAME = 64
_SCHEMES = (
    r"(?i:basic|bearer|digest|negotiate|ntlm|token|apikey|sharedkey|sharedkeylite|sharedaccesssignature)"
)
# A name and what stands between it and its value. After a colon and a space may stand prose instead:
# "MICROSHARE_PASSWORD: not set; write it".
_NAMED = re.compile(
    rf"(?<![\w.-])(?P<name>[A-Za-z][\w.-]{{2,{_LONGEST_NAME - 1}}})[\"'\\]{{0,9}}\s{{0,9}}"
    rf"(?:=|:(?!\s+(?!{_SCHEMES}\s)[A-Za-z][A-Za-z']*\s+\S))\s{{0,9}}"
)
# In quotes, or as far as it can go on. What is masked already is none, nor is what JSON has for nothing.
_VALUE = re.compile(
    r'"(?P<double>(?:[^"\\]|\\.)+)"'
    # A list of texts, with its quotes and commas.
    r'|\[\s{0,9}(?P<list>"(?:[^"\\]|\\.)*"(?:\s{0,9},\s{0,9}"(?:[^"\\]|\\.)*")*)\s{0,9}\]'
    r"|'(?P<single>(?:[^'\\]|\\.)+)'"
    r"|\\+[\"'](?P<escaped>[^\"'\\]+)"
    rf"|(?:{_SCHEMES}\s+)?(?!(?:null|true|false|None)\b)(?P<bare>[^\s;,&\"'<>*\\][^\s;,&\"'<>]*)"
)
_TOKEN = re.compile(
    # What begins an Authorization header; "Basic authentication" is prose.
    r"\b(?i:bearer)\s+(?P<bearer>[A-Za-z0-9._~+/=-]{8,})"
    r"|\b(?i:basic)\s+(?P<basic>[A-Za-z0-9+/_-]*(?:[0-9+/_-]|[a-z][A-Z]|=)[A-Za-z0-9+/=_-]*)"
    # Base64 of what begins with {": a JSON Web Token.
    r"|(?<![\w-])(?P<jwt>eyJ[\w-]{5,}(?:\.[\w-]*)*)"
)
_RUN = re.compile(r"[^\s\"'<>]+")


def names_a_secret(name: str) -> bool:
    """Whether what stands under `name` is secret by that name."""
    if len(name) > _LONGEST_NAME:
        return False
    return any(
        _TELLING.fullmatch(_WORD_BEGINS.sub("_", form).replace("-", "_").lower())
        for form in {name, _ACRONYM_ENDS.sub("_", name)}
    )


def shapes_in(text: str) -> Iterator[tuple[int, int]]:
    """Give where in `text` something stands that is shaped like a secret."""
    if "=" in text or ":" in text:
        yield from _values_of_names(text)
    for found in _TOKEN.finditer(text):
        yield found.span(found.lastgroup or 0)
    if "://" in text and "@" in text:
        yield from credentials_in_urls(text)


def _values_of_names(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for found in _NAMED.finditer(text):
        # What stands within a value is masked with it.
        if found.start() < done or not names_a_secret(found["name"]):
            continue
        value = _VALUE.match(text, found.end())
        if value is not None and value.lastgroup is not None:
            done = value.end()
            yield value.span(value.lastgroup)


def credentials_in_urls(text: str) -> Iterator[tuple[int, int]]:
    """Find what stands before the host, whatever characters a password has that should be encoded.

    What looks like `host:port/path@` is taken for credentials, too.
    """
    for found in _RUN.finditer(text):
        run = found[0]
        begins, ends = run.find("://") + 3, run.rfind("@")
        told = run[begins:ends] if 3 <= begins < ends else ""
        if ":" in told or (told and not set(told) & set("/?#")):
            yield found.start() + begins, found.start() + ends
