"""What stands where a value should: placeholders, and text that a tool should have replaced by a value.

A password may be anything, so there only what is no password for certain counts: the words of our own
examples in their brackets, and what tools leave when they do not replace it, where it is the whole value.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class _Tool(NamedTuple):
    """The text that a tool replaces, as a pattern and as people write it, the tool, and what to do."""

    pattern: str
    written: str
    name: str
    advice: str


_DEFINE = "define the variable there, or write the value"
_TOOLS = (
    _Tool(
        r"\$\([A-Za-z_][\w.-]*\)",
        "$(NAME)",
        "Azure Pipelines",
        "define the variable there, and map a secret one in the step's env, or write the value",
    ),
    _Tool(r"\$\{\{[^{}]*\}\}", "${{ NAME }}", "GitHub Actions or Azure Pipelines", _DEFINE),
    _Tool(r"\$\{[^{}]*\}", "${NAME}", "a shell, envsubst or docker compose", _DEFINE),
    _Tool(r"#\{[^{}]*\}#?", "#{NAME}#", "a step like Replace Tokens, or Octopus Deploy", _DEFINE),
    _Tool(r"\{\{[^{}]*\}\}", "{{ NAME }}", "Ansible, Helm or another Jinja-like template", _DEFINE),
    _Tool(r"<%[^<>]*%>", "<%= NAME %>", "an ERB-like template", _DEFINE),
    _Tool(r"__[A-Za-z](?:[\w.]*[A-Za-z0-9])?__", "__NAME__", "a step like Replace Tokens", _DEFINE),
    _Tool(r"%[A-Za-z_]\w*%", "%NAME%", "the command prompt of Windows", _DEFINE),
    _Tool(
        r"\[(?:parameters|variables|reference|listKeys|concat|format|resourceId)\([^\]]*\]",
        "[parameters('NAME')]",
        "a deployment of an ARM template",
        "set the variable by the template, or write the value",
    ),
)
# Azure puts the value in place of a reference, or leaves the reference as it is.
_REFERENCES = {
    re.compile(r"(?i)@Microsoft\.KeyVault\("): (
        "is a Key Vault reference that Azure did not resolve; check the secret's name and that the app's "
        "identity may read the vault"
    ),
    re.compile(r"(?i)@Microsoft\.AppConfiguration\("): (
        "is an App Configuration reference that Azure did not resolve; check its endpoint, key and label, "
        "and that the app's identity may read the store"
    ),
}
_BRACKETED = re.compile(r"<([^<>]*)>")
_UNWRITTEN = re.compile(r"(?i)change[-_ ]?me|todo|x{3,}|\.\.\.|…")
_YOUR = re.compile(r"(?i)your[-_][\w-]*")
# Inside a URL, a connection string or a JSON array.
_BRACKETED_WITHIN = re.compile(r"(?:=|//|\")<[^<>\"]*>")
_TOOLS_WITHIN = tuple((re.compile(rf"(?:=|//|\"){tool.pattern}(?=[;\"/.:]|$)"), tool) for tool in _TOOLS)
# What is written in brackets where a user name, a password or a key belongs.
_GENERIC = frozenset(
    re.findall(
        r"\w+",
        "a account an and api app by change client enter for from here id insert its key me microshare my "
        "name of or pass passwd password pwd real replace secret string the this to token user username "
        "value with your",
    )
)


def placeholder_in(text: str, *, credential: bool, except_percent: bool = False) -> str | None:
    """Say what stands in the place of a value, and what to do; None where nothing of the kind does.

    A `credential` is a password or a key of its own, of which any text could be one; everything else
    is looked at inside, too. `except_percent` leaves out %NAME%.
    """
    whole = text.strip()
    for pattern, said in _REFERENCES.items():
        if pattern.match(whole) if credential else pattern.search(whole):
            return said
    tools = [tool for tool in _TOOLS if not (except_percent and tool.written == "%NAME%")]
    for tool in tools:
        if re.fullmatch(tool.pattern, whole):
            return _left(tool)
    if _is_unwritten(whole, credential=credential):
        return "is still a placeholder; write the real value, or remove it"
    if credential or not (text.startswith("[") or "://" in text):
        return None
    if _BRACKETED_WITHIN.search(text):
        return "is still a placeholder; write the real value, or remove it"
    return next((_left(tool) for pattern, tool in _TOOLS_WITHIN if pattern.search(text)), None)


def _left(tool: _Tool) -> str:
    return f"is still a placeholder of the form {tool.written}, which {tool.name} replaces; {tool.advice}"


def _is_unwritten(text: str, *, credential: bool) -> bool:
    if _UNWRITTEN.fullmatch(text):
        return True
    bracketed, your = _BRACKETED.fullmatch(text), _YOUR.fullmatch(text)
    if not credential:
        return bool(bracketed or your)
    inner = bracketed[1] if bracketed else text if your else None
    return inner is not None and set(re.findall(r"[^\W_]+", inner.lower())) <= _GENERIC
