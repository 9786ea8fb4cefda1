"""How `init` asks for one setting: again until it can be used, and where it would not count, not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from app.cli.asking import NONE, agreed, chosen, typed, typed_unseen
from app.cli.init_trials import Trials
from app.cli.output import Output, text
from app.settings.answers import Answers
from app.settings.document import Keys, dotted


class Prompts:
    """Asks for one setting at a time; what is answered is in `answers` at once."""

    def __init__(self, answers: Answers, out: Output, trials: Trials | None) -> None:
        self._answers = answers
        self._out = out
        self._trials = trials

    def ask(
        self,
        keys: Keys,
        question: str,
        *,
        offered: str = "",
        instead: str = "",
        optional: bool = False,
        alone: bool = False,
        meant: Callable[[str], str] | None = None,
    ) -> None:
        """Ask until the answer can be used; a secret unseen.

        `offered` is what Enter gives where nothing is current, `instead` also where something is.
        `alone`: that it lacks is not said before what comes after it was asked, too.
        """
        variable = self._answers.variable(keys)
        if self.told_elsewhere(keys, question) or variable is None:
            return
        while True:
            current = self._current(keys)
            if self._answers.is_secret(variable):
                answer = typed_unseen(question, is_set=bool(current), removable=optional) or current
            else:
                removable = optional and bool(current)
                answer = typed(question, instead or current or offered, removable=removable)
            answer = "" if optional and answer == NONE else answer
            answer = meant(answer) if meant else answer
            before = self._answers.answer(variable, answer) if answer != current else None
            problems = [] if alone and not answer else self._answers.problems_of(variable)
            if not problems:
                return
            for problem in problems:
                self.refused(problem)
            if answer != current:
                self._answers.put_back(variable, before)

    def choose(self, keys: Keys, question: str, choices: Sequence[str]) -> None:
        """Ask for one of a few words."""
        variable = self._answers.variable(keys)
        if self.told_elsewhere(keys, question) or variable is None:
            return
        current = self._current(keys)
        answer = chosen(question, choices, current)
        if answer != current:
            self._answers.answer(variable, answer)

    def told_elsewhere(self, keys: Keys, question: str) -> bool:
        """Say that there is nothing to ask where the file that is written would not count."""
        variable = self._answers.variable(keys)
        if variable is None:
            said = f"{dotted(keys)[1:]} has no variable in {self._answers.config_file}; write it there"
        elif place := self._answers.set_elsewhere(variable):
            said = f"{variable} is set in {place}, which counts"
        else:
            return False
        self._out.show(text(f"not asked: {said} ({question[0].lower()}{question[1:]})", "dim"))
        return True

    def until_kept(self, ask: Callable[[], None], tried: Callable[[Trials], bool]) -> None:
        """Ask, try, and ask again until all is well or it is wanted as it is; without trials, ask once."""
        while True:
            ask()
            if self._trials is None or tried(self._trials) or not agreed("Correct it?", otherwise=True):
                return

    def heading(self, title: str) -> None:
        """Say what the next questions are about."""
        self._out.show("", text(title, "bold"))

    def refused(self, problem: str) -> None:
        """Say why an answer cannot be used."""
        self._out.show(text(f"refused: {problem}", "red"))

    def _current(self, keys: Keys) -> str:
        value = self._answers.value(keys)
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)
