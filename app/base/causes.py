"""What an error is and what to do, in words of ours: without the text of a server, an SDK, or the system.

An error's text says the place, what was seen, and what to do, and may quote what came. It is what a state and
a history keep; whoever reads a screen wants the cause first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from app.base.text import printable, said_and_advised

# A cause stands in a line with a name and a time before and after it, 80 columns wide.
_LONGEST: Final = 60
# What a text is begins with its beginning; a state keeps no longer ones.
_LOOKED_AT: Final = 2_000
_UNKNOWN: Final = "an unknown error"


# How texts begin, once their place is taken away, and what that is called; `\1` is the first group. Most runs
# need none of them, so none is compiled before.
_Rules = Sequence[tuple[str, str]]


# The names of a hub and of a view are anybody's; what follows a question is told by its end.
_PLACE_OF_HUB = re.compile(r"hub .*?: ")
_PLACE_OF_API = re.compile(
    r"microshare: (?:query of view .*?, \S+Z to \S+Z: |(?:discovery of cluster .*?|discovery|login): )*"
)
_PLACE_OF_STATE = re.compile(r"(?:state: |STATE_[A-Z]+: )")
# Why nothing more may be sent is told as an error of each hub that has to hear it.
_NO_FAULT_OF_A_HUB = re.compile(r"hub .*?: nothing more is sent: ")
# What an error of a location or a reading is told with, where the error itself is another's.
_WITHIN = re.compile(r"[^;<]*?: (?=(?:microshare|state|clocks): |hub [^:]*: )")

# What the last of several attempts says to do, behind whatever it quotes.
AGAIN: Final = "the next run tries again"
# Of an error of the API or the state what came stands in quotes, in brackets, or as what was sent.
_QUOTED = re.compile(r'".*"|\(.*\)|; sent [^\s;]+')
# What is in brackets there is ours.
_OF_CLOCKS: Final = r"(?:during the run, |in mid-run, )?clocks: "
_ADVICE = re.compile(r"; (.*)")
# An SDK's text may hold anything, a semicolon too: it stands alone, behind the advice in brackets, or before
# advice that is known by its words.
_NO_ADVICE_OF_HUBS = re.compile(r"busy|message refused|batch rejected")
_ADVICE_OF_HUBS = re.compile(
    r"(?:(?:[a-z:]+-[a-z]+|sign-in refused): [^;]*; (?P<before>[^(]*)"
    r"|.*?; (?P<known>(?:check|report it|if a proxy|the connection was closed).*))"
)
_PLACE_OF_QUERY = re.compile(r"query of view .*? for (['\"])(.*?)\1, \S+Z to \S+Z: ")
# What systems say of a host's name that nothing knows; of a name server that is away they say otherwise.
_HOST_UNKNOWN: Final = (
    r"(?:Name or service not known|No address associated with hostname|nodename nor servname provided"
    r"|getaddrinfo failed|there is no (?:such )?host)"
)
_NO_SUCH_HOST = re.compile(rf"no connection(?! through the proxy).*{_HOST_UNKNOWN}")
_OF_HUBS: _Rules = (
    (_NO_SUCH_HOST.pattern, "its host does not exist"),
    (rf"no connection.*{_HOST_UNKNOWN}", "its proxy's host does not exist"),
    (r"no connection", "no connection"),
    (r"no answer", "no answer in time"),
    (r"busy: ", "asks for a pause too often"),
    (r"(?:unauthorized-access|sign-in refused): ", "refuses the credentials"),
    (r"not-found: ", "does not exist"),
    (r"entity-disabled: ", "is disabled"),
    (r"message refused as too large", "refuses a message as too large"),
    (r"batch rejected", "refuses a batch"),
    (r"the certificate of ", "its certificate is not trusted"),
    (r"the client of the hub failed", "the client of the hub failed"),
    (r"(?:it holds events|the connection)", "delivers nothing"),
)
# How these begin, said of several hubs.
_OF_SEVERAL: Final = {
    "refuses": "refuse",
    "asks": "ask",
    "does": "do",
    "is": "are",
    "delivers": "deliver",
    "its": "their",
}
_OF_THE_API: _Rules = (
    (r"429\b", "the API asks for a pause too often"),
    (r"(?:403\b|no cluster of |[\d,]+ objects? (?:is|are) counted)", "the account may not read this"),
    (r"404\b", "the view or cluster does not exist"),
    (r"401\b", "the API refuses the login's token"),
    (r"([45]\d\d)\b", r"the API answers with \1"),
    (r"login refused for user ", "the API refuses the login"),
    (r"\d+ tokens were refused", "the API refuses the login's token"),
    (r"redirect to ", "the API redirects elsewhere"),
    (rf"connection to \S+ through the proxy .*{_HOST_UNKNOWN}", "the proxy's host does not exist"),
    (rf"connection to .*{_HOST_UNKNOWN}", "the API's host does not exist"),
    (r"(?:connection to |no connection from )", "no connection to the API"),
    (r"(?:no complete answer from |no query was answered)", "no answer of the API in time"),
    (r"the certificate of ", "the API's certificate is not trusted"),
    (r"no request to ", "the API's URL cannot be asked"),
    (r"the view refuses its parameters", "the view refuses its parameters"),
    (r"an empty answer", "the API's answer is empty"),
    (r"(?:no readable JSON|no JSON object|.* answers in the encoding )", "the API's answer is not JSON"),
    (r"an answer without a list ", "the API's answer holds no list of readings"),
    (
        r"(?:the pages end with|\d+ pages hold|page \d+ is|more than [\d,]+ pages)",
        "the API's pages do not fit",
    ),
    (r"(?:its answer|the answer of .*) is over", "the API's answer is too large"),
    (r"location .* rename it", "its name cannot be asked for"),
)
_OF_THE_STATE: _Rules = (
    (r".*No space left on device", "the disk of the state is full"),
    (r".*Disk quota exceeded", "the quota of the state's disk is used up"),
    (r".*Read-only file system", "the disk of the state is read-only"),
    (r".*(?:Permission denied|Operation not permitted)", "the state's folder is not allowed to this account"),
    (r".*: another run works on this feed", "another run works on this feed"),
    (r".*: another run changed ", "another run saved it meanwhile"),
    (r".*the run lock was lost", "the run lock was lost"),
    (r".*the file is gone, its backup", "the state's file is gone"),
    (r".*(?:cannot be read as state|ids that are no)", "the state cannot be read"),
    (r".* needs [\d,]+ bytes", "too large to be saved"),
    (r".*: (?:access refused|no credentials to ask with)", "the table store refuses the credentials"),
    (r".*: throttled or (?:out of order|unavailable)", "the table store is unavailable"),
    (rf".*: not reached through the proxy .*{_HOST_UNKNOWN}", "the proxy's host does not exist"),
    (r".*: not reached \(there is no such host", "the table store's host does not exist"),
    (r".*: not reached", "no connection to the table store"),
    (r".*: (?:refused \(|still being removed)", "the table store refuses"),
    (r"", "could not be saved"),
)
_OF_OTHERS: _Rules = (
    (r"answer for .*: none of ", "the API's answer is not that of a dashboard view"),
    (_OF_CLOCKS, "this host's clock and the API's differ"),
    (r"(?:.*: |.*)unexpected [A-Za-z]+(?:: |$)", "an unexpected error"),
    (r"the run lock was lost", "the run lock was lost"),
    (r"it is larger than a message of the hub", "a reading larger than a message"),
    (r"no location was asked for within", "its time was over before it asked"),
    (r"the last run failed$", "the last run failed"),
)
_BY_PLACE: Final = (
    (_PLACE_OF_HUB, _OF_HUBS),
    (_PLACE_OF_API, _OF_THE_API),
    (_PLACE_OF_STATE, _OF_THE_STATE),
)


def short_cause(error: str) -> str:
    """Give the cause of an error in at most 60 characters, to stand behind the name of what it is about.

    `error` is the text as a state, a history or a report has it, of this version or an earlier one. What is
    not known is said by its own beginning, up to its first colon, semicolon or angle bracket.
    """
    text = _NO_FAULT_OF_A_HUB.sub("", error[:_LOOKED_AT], count=1)
    rest, rules = _of_its_place(text)
    if rules is None and (within := _WITHIN.match(text)) is not None:
        rest, rules = _of_its_place(text[within.end() :])
    for begins, cause in (*(rules or ()), *_OF_OTHERS):
        found = re.match(begins, rest)
        if found is not None:
            return found.expand(cause)
    return _own_beginning(rest)


def of_several(cause: str) -> str:
    """Give a hub's cause as it is said of several."""
    verb, space, rest = cause.partition(" ")
    return f"{_OF_SEVERAL.get(verb, verb)}{space}{rest}"


def advice(error: str) -> str | None:
    """Give what an error says to do, without what it quotes; None where it says nothing.

    `error` is as for `short_cause`.
    """
    text = _NO_FAULT_OF_A_HUB.sub("", error[:_LOOKED_AT], count=1)
    # A host that does not exist is not there in the next run either.
    if AGAIN in text and not re.search(_HOST_UNKNOWN, text):
        return AGAIN
    rest, rules = _of_its_place(text)
    if rules is _OF_HUBS and _NO_SUCH_HOST.match(rest):
        return "check the namespace that it is given with"
    if rules is _OF_HUBS:
        found = _advice_of_hub(rest)
    else:
        found = _ADVICE.search(rest if re.match(_OF_CLOCKS, rest) else _QUOTED.sub("", rest))
    said = next(filter(None, found.groups()), "").strip() if found else ""
    return said if said and said.isprintable() and "<" not in said else None


def _advice_of_hub(rest: str) -> re.Match[str] | None:
    return None if _NO_ADVICE_OF_HUBS.match(rest) else _ADVICE_OF_HUBS.match(rest)


def without_quotes(text: str) -> str:
    """Give a warning's text with the cause in place of the error that it tells."""
    within = _WITHIN.match(text)
    if within is not None:
        return f"{text[: within.end() - 2]} ({short_cause(text[within.end() :])})"
    return _PLACE_OF_QUERY.sub(r"a query for \2: ", text, count=1)


def said_and_advised_briefly(warning: str) -> tuple[str, str | None]:
    """Give what a warning says and what to do, with the cause in place of the error that it tells."""
    if _WITHIN.match(warning) is not None:
        return without_quotes(warning), advice(warning)
    return said_and_advised(without_quotes(warning))


def _of_its_place(text: str) -> tuple[str, _Rules | None]:
    """Give what a text says behind its place, and the rules for that; all of it where it begins with none."""
    for place, rules in _BY_PLACE:
        found = place.match(text)
        if found is not None:
            return text[found.end() :], rules
    return text, None


def _own_beginning(rest: str) -> str:
    said = re.split(r": |<", said_and_advised(rest)[0], maxsplit=1)[0]
    shown = printable(said.strip(" :,"))
    return (shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…") or _UNKNOWN
