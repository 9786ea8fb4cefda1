"""The questions of `init`, in the order in which one answer lets the next be tried."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.base.text import counted, dashed
from app.cli.asking import agreed, chosen, typed, typed_unseen
from app.cli.init_prompts import Prompts
from app.cli.init_trials import Trials
from app.cli.output import Output, text
from app.cli.tables import Column, table
from app.microshare.discovery import Organisation
from app.settings.answers import Answers
from app.settings.document import Keys
from app.settings.json_texts import json_array
from app.settings.places import own_state_folder
from app.settings.rules import text_list
from app.settings.schema import FeedSettings, HubSettings, MicroshareSettings

_IDENTITY: Keys = ("microshare", "identity")
_PRIMARY: Keys = ("event_hubs", "primary")
_OTHERS: Keys = ("event_hubs", "others")
# What a login is tried with before it is known whose clusters count.
_NOBODY = "=nobody"


class Questions:
    """Asks for settings; without `trials` nothing is tried. What is answered is in `answers` at once."""

    def __init__(self, answers: Answers, out: Output, trials: Trials | None) -> None:
        self._answers = answers
        self._out = out
        self._trials = trials
        self._prompts = Prompts(answers, out, trials)
        self._logged_in = False

    def all(self) -> None:
        self._account()
        self._clusters()
        for name in self._answers.feeds:
            self._feed(name)
        self._hubs()
        self._state()

    # --- Microshare ---------------------------------------------------------------------------------

    def _account(self) -> None:
        self._prompts.heading("Microshare account")
        self._prompts.until_kept(self._ask_account, self._try_login)

    def _ask_account(self) -> None:
        self._ask_addresses()
        self._prompts.choose(("microshare", "auth"), "Login of the web page, or OAuth2", ["web", "oauth2"])
        self._prompts.ask(("microshare", "username"), "User name")
        self._prompts.ask(("microshare", "password"), "Password")
        if self._answers.value(("microshare", "auth")) == "oauth2":
            self._prompts.ask(("microshare", "api_key"), "API key")

    def _ask_addresses(self) -> None:
        keys: Sequence[Keys] = [("microshare", name) for name in ("app_url", "auth_url", "api_url")]
        variables = {at: self._answers.variable(at) for at in keys}
        if not any(variable and not self._answers.set_elsewhere(variable) for variable in variables.values()):
            return
        where = ", ".join(dict.fromkeys(str(self._answers.value(at)) for at in keys))
        if not agreed(f"Is Microshare at {where}?", otherwise=True):
            for at, what in zip(keys, ("the web page", "OAuth2 logins", "the API"), strict=True):
                self._prompts.ask(at, f"URL of {what}")

    def _try_login(self, trials: Trials) -> bool:
        source = self._source()
        if source is None:
            # Of other settings than those that are asked for here.
            for problem in self._answers.parts().problems:
                self._prompts.refused(problem)
            return True
        self._logged_in = trials.login(source)
        return self._logged_in

    def _source(self) -> MicroshareSettings | None:
        variable = self._answers.variable(_IDENTITY)
        return self._answers.parts({variable: _NOBODY} if variable else None).microshare

    def _clusters(self) -> None:
        self._prompts.heading("Buildings")
        keys = [("feeds", name, "cluster_ids") for name in self._answers.feeds]
        # Feeds share a variable.
        by_variable = {self._answers.variable(at): at for at in reversed(keys)}
        found: list[Organisation] = []

        def ask() -> None:
            for at in by_variable.values():
                self._prompts.ask(
                    at, "Id of the people counter device cluster, or a JSON array of ids", optional=True
                )

        def tried(trials: Trials) -> bool:
            found.clear()
            source, cluster_ids = self._source(), self._cluster_ids()
            if not self._can_ask() or source is None or not cluster_ids:
                return True
            seen = trials.organisations(source, cluster_ids)
            found.extend(seen or ())
            return seen is not None

        self._prompts.until_kept(ask, tried)
        self._prompts.until_kept(lambda: self._ask_identity(found), self._try_identity)

    def _cluster_ids(self) -> Sequence[str]:
        """Give those of all feeds, also of feeds that lack something else."""
        found: list[str] = []
        for name in self._answers.feeds:
            written = self._answers.value(("feeds", name, "cluster_ids"))
            with suppress(ValueError):
                found += text_list(written or "", kind="a cluster id", one=True)
        return list(dict.fromkeys(found))

    def _ask_identity(self, found: Sequence[Organisation]) -> None:
        question = "Organisation whose clusters count, like com.example.NORTH"
        offered = ""
        if found:
            columns = [Column("", number=True), Column("organisation", key=True)]
            counts = [Column(head, number=True) for head in ("clusters", "locations", "devices")]
            rows = [
                (str(at), seen.name, seen.clusters, seen.locations, seen.devices)
                for at, seen in enumerate(found, start=1)
            ]
            self._out.show(table([*columns, *counts], rows))
            question = "Organisation whose clusters count: its number, or a name"
            offered = "1" if len(found) == 1 else ""

        def named(answer: str) -> str:
            chosen_number = int(answer) if answer.isascii() and answer.isdecimal() else 0
            # With = before it a name means that organisation alone.
            return f"={found[chosen_number - 1].name}" if 0 < chosen_number <= len(found) else answer

        self._prompts.ask(_IDENTITY, question, offered=offered, meant=named)

    def _try_identity(self, trials: Trials) -> bool:
        source, cluster_ids = self._answers.parts().microshare, self._cluster_ids()
        if not self._can_ask() or source is None or not cluster_ids:
            return True
        return trials.identity(source, cluster_ids)

    def _can_ask(self) -> bool:
        if not self._logged_in:
            self._out.show(text("not tried: there is no login", "yellow"))
        return self._logged_in

    # --- feeds --------------------------------------------------------------------------------------

    def _feed(self, name: str) -> None:
        self._prompts.heading(f"Feed {dashed(name)}")

        view, tags, prefix = (("feeds", name, key) for key in ("view_id", "data_context", "location_prefix"))
        tried: list[bool] = []

        def ask() -> None:
            self._prompts.ask(view, "Id of its dashboard view (nothing: the feed is off)", optional=True)
            if not self._answers.value(view):
                return
            self._prompts.ask(tags, "Tags of its records, one word or a JSON array")
            # Most views call buildings as discovery does; where that holds, there is nothing to ask.
            matters = tried or self._trials is None or self._answers.value(prefix)
            if matters and self._answers.variable(prefix):
                about = "Start of building names that this view leaves out (nothing: none)"
                self._prompts.ask(prefix, about, optional=True)

        def tried_well(trials: Trials) -> bool:
            tried.append(self._try_view(trials, name))
            return tried[-1]

        self._prompts.until_kept(ask, tried_well)

    def _try_view(self, trials: Trials, name: str) -> bool:
        parts = self._answers.parts()
        feed: FeedSettings | None = parts.feeds.get(name)
        if feed is None or not feed.view_id or parts.microshare is None or not self._can_ask():
            return True
        return trials.view(parts.microshare, feed)

    # --- hubs ---------------------------------------------------------------------------------------

    def _hubs(self) -> None:
        self._prompts.heading("Event Hubs")
        self._prompts.until_kept(
            lambda: self._prompts.ask(
                _PRIMARY, "Primary hub: connection string with EntityPath", optional=True, alone=True
            ),
            lambda trials: self._try_hub(trials, self._primary()),
        )
        self._further_hubs()

    def _primary(self) -> HubSettings | None:
        return next((hub for hub in self._answers.parts().hubs if self._answers.value(_PRIMARY)), None)

    def _further_hubs(self) -> None:
        variable = self._answers.variable(_OTHERS)
        if self._prompts.told_elsewhere(_OTHERS, "Further hubs") or variable is None:
            return
        for problem in self._answers.problems_of(variable):
            self._prompts.refused(problem)
        if _entries(self._answers.value(_OTHERS)) is None:
            if not agreed("Begin a new list of further hubs?", otherwise=False):
                return
            self._answers.answer(variable, "")
        while True:
            hubs = self._answers.parts().hubs
            shown = ", ".join(f"{hub.name} ({hub.key})" for hub in hubs)
            self._out.show(text(f"{counted(len(hubs), 'hub')}{': ' if shown else ''}{shown}", "dim"))
            entries = _entries(self._answers.value(_OTHERS)) or []
            if not entries:
                word = "add" if agreed("Add a further hub?", otherwise=not hubs) else "done"
            else:
                word = chosen("Further hubs: add one, remove one, or done", ["add", "remove", "done"], "done")
            if word == "done":
                return
            if word == "add":
                self._add_hub(variable, entries)
            else:
                self._remove_hub(variable, entries)

    def _remove_hub(self, variable: str, entries: Sequence[object]) -> None:
        primary = self._primary()
        others = [hub.name for hub in self._answers.parts().hubs if hub != primary]
        # Where one of them cannot be read, none is known by its name.
        names = others if len(others) == len(entries) else ["cannot be read"] * len(entries)
        numbers = [str(at) for at in range(1, len(entries) + 1)]
        columns = [Column("", number=True), Column("hub", key=True)]
        self._out.show(table(columns, zip(numbers, names, strict=True)))
        number = chosen("Which is to be removed", [*numbers, "none"], "none")
        if number != "none":
            left = [entry for at, entry in zip(numbers, entries, strict=True) if at != number]
            self._answers.answer(variable, _written(left))
            said = "its positions stay in the state: if it comes back, it goes on from there"
            self._out.show(text(said, "dim"))

    def _add_hub(self, variable: str, entries: Sequence[object]) -> None:
        entry = _typed_hub()
        if entry is None:
            return
        known = self._answers.parts().problems
        before = self._answers.answer(variable, _written([*entries, entry]))
        problems = [problem for problem in self._answers.parts().problems if problem not in known]
        for problem in problems:
            self._prompts.refused(problem)
        hub = next(reversed(self._answers.parts().hubs), None)
        well = not problems and (self._trials is None or self._try_hub(self._trials, hub))
        if not well and (problems or agreed("Leave it out?", otherwise=True)):
            self._answers.put_back(variable, before)

    def _try_hub(self, trials: Trials, hub: HubSettings | None) -> bool:
        return hub is None or not hub.enabled or trials.hub(hub)

    # --- state --------------------------------------------------------------------------------------

    def _state(self) -> None:
        self._prompts.heading("State: the positions of what was forwarded")
        self._prompts.until_kept(self._ask_state, self._try_state)

    def _ask_state(self) -> None:
        self._prompts.choose(
            ("state", "store"), "Files, Azure Table storage, or what fits", ["json", "table", "auto"]
        )
        state = self._answers.parts().state
        if state is None or state.store == "table":
            given: Keys = ("state", "connection_string")
            self._prompts.ask(given, "Connection string of the storage account", alone=True)
            if not self._answers.value(given):
                self._prompts.ask(("state", "account_name"), "Name of the storage account", optional=True)
        else:
            where: Keys = ("state", "directory")
            folder = Path(str(self._answers.value(where)))
            self._prompts.ask(
                where,
                "Folder, which must survive updates and restarts",
                instead="" if _can_be_made(folder) else str(own_state_folder()),
                meant=lambda answer: str(Path(answer).expanduser()),
            )

    def _try_state(self, trials: Trials) -> bool:
        state = self._answers.parts().state
        if state is not None:
            return trials.state(state)
        variable = self._answers.variable(("state", "connection_string"))
        for problem in self._answers.problems_of(variable or ""):
            self._prompts.refused(problem)
        return False


def _typed_hub() -> object:
    """Give an entry of the list of hubs as one writes it; None where nothing was typed."""
    name = typed("Its name, for people (or nothing)")
    connection_string = typed_unseen("Connection string (Enter: reached by managed identity)", is_set=False)
    called = {"name": name} if name else {}
    if connection_string:
        return {**called, "connection_string": connection_string} if name else connection_string
    namespace, event_hub = typed("Namespace"), typed("Event hub")
    if not namespace and not event_hub:
        return None
    return {**called, "namespace": namespace, "event_hub": event_hub}


def _can_be_made(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return os.access(there, os.W_OK)


def _written(entries: Sequence[object]) -> str:
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")) if entries else ""


def _entries(written: object) -> list[object] | None:
    """Give the entries of a list as it is written; None where it cannot be read."""
    with suppress(ValueError):
        return json_array(written or "[]", secret=True) if isinstance(written, str) else []
    return None
