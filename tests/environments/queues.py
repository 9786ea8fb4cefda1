"""Storage queues as the Functions host uses them, and the listener that takes messages for one instance."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote
from xml.etree import ElementTree

from app.settings.schema import ScaleOutSettings
from app.state.shard_queue import QueueService
from tests.environments.azurite import connection_string


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was received: its text, decoded, and how often it was received so far."""

    id: str
    receipt: str
    text: str
    dequeued: int


class Queues(QueueService):
    """The queues of Azurite, with all that the host asks of them."""

    def __init__(self, port: int) -> None:
        super().__init__(ScaleOutSettings(2, connection_string(0, queue_port=port)))

    def names(self) -> list[str]:
        listed = ElementTree.fromstring(self.ask("GET", "?comp=list").text())
        return [found.text or "" for found in listed.iter("Name")]

    def make(self, name: str) -> None:
        """Make a queue where it is missing."""
        self.ask("PUT", name)

    def remove(self, name: str) -> None:
        self.ask("DELETE", name, may_be_missing=True)

    def receive(self, name: str, visibility: timedelta) -> Message | None:
        """Receive the next message that is visible, and hide it for so long."""
        seconds = round(visibility.total_seconds())
        answer = self.ask("GET", f"{name}/messages?numofmessages=1&visibilitytimeout={seconds}")
        found = next(ElementTree.fromstring(answer.text()).iter("QueueMessage"), None)
        if found is None:
            return None
        said = {part.tag: part.text or "" for part in found}
        text = base64.b64decode(said["MessageText"]).decode()
        return Message(said["MessageId"], said["PopReceipt"], text, int(said["DequeueCount"]))

    def hide(self, name: str, message: Message, visibility: timedelta) -> Message:
        """Hide a message for so long from now on; give it with its new receipt."""
        seconds = round(visibility.total_seconds())
        answer = self.ask("PUT", f"{_path(name, message)}&visibilitytimeout={seconds}")
        return Message(message.id, answer.headers["x-ms-popreceipt"], message.text, message.dequeued)

    def delete(self, name: str, message: Message) -> None:
        self.ask("DELETE", _path(name, message), may_be_missing=True)


def _path(name: str, message: Message) -> str:
    return f"{name}/messages/{message.id}?popreceipt={quote(message.receipt, safe='')}"


class Listener:
    """Takes one message at a time, as the Functions host's listener does for an instance (batchSize 1).

    A message is invisible for `visibility`, 10 minutes there, which is renewed while `run` works on it.
    What was run is deleted; what raises comes again at once, or after `most` times goes to the poison
    queue, and so does what was received more often than that, unseen by `run`: its instance was killed.
    """

    def __init__(
        self,
        queues: Queues,
        name: str,
        run: Callable[[str], None],
        *,
        most: int = 1,
        visibility: timedelta = timedelta(minutes=10),
    ) -> None:
        self._queues = queues
        self._name = name
        self._run = run
        self._most = most
        self._visibility = visibility

    def take(self) -> bool:
        """Take a message, if one is visible, and see to it; say whether there was one."""
        message = self._queues.receive(self._name, self._visibility)
        if message is None:
            return False
        if message.dequeued > self._most:
            self._set_aside(message)
            return True
        ended = threading.Event()
        renewed = [message]
        keeper = threading.Thread(target=self._keep, args=(renewed, ended), daemon=True)
        keeper.start()
        try:
            self._run(message.text)
        except Exception:  # noqa: BLE001 - whatever it is, the host does the same
            failed = True
        else:
            failed = False
        finally:
            ended.set()
            keeper.join()
        if not failed:
            self._queues.delete(self._name, renewed[-1])
        elif message.dequeued >= self._most:
            self._set_aside(renewed[-1])
        else:
            self._queues.hide(self._name, renewed[-1], timedelta(0))
        return True

    def _keep(self, renewed: list[Message], ended: threading.Event) -> None:
        while not ended.wait(self._visibility.total_seconds() / 2):
            renewed.append(self._queues.hide(self._name, renewed[-1], self._visibility))

    def _set_aside(self, message: Message) -> None:
        poison = f"{self._name}-poison"
        self._queues.make(poison)
        self._queues.put(poison, message.text)
        self._queues.delete(self._name, message)
