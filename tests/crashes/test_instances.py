"""A feed that many instances share by a queue, some of which are killed: what the hubs have then."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.base.instants import HOUR, floor_to, utc_now
from app.base.shards import Shard
from app.run.shard_message import ShardMessage
from app.run.tick import plan_tick
from app.settings.scale_out import POISON, QUEUE
from app.wiring import wire
from emulators.estate import Building, Estate
from emulators.eventhubs import EventHubsEmulator
from emulators.microshare import MicroshareEmulator
from tests.environments.azurite import Relay, connection_string
from tests.environments.installation import Clock, Installation, arrivals
from tests.environments.instances import Instances
from tests.environments.killable import LEASE_OVER
from tests.environments.queues import Queues
from tests.flows.test_stores import table_environment
from tests.promise import altered, invented, lost, out_of_order, repeated, under_another_id

# Messages are run by the host's clock; the source's is behind it, and moves a quarter of an hour a tick.
NOW = floor_to(utc_now(), HOUR) - 3 * HOUR
BEGIN = NOW - 2 * HOUR
TICK = timedelta(minutes=15)
# Instead of 10 minutes.
VISIBILITY = timedelta(seconds=2)


@dataclass(slots=True)
class Tally:
    """What the instances did with the messages of ticks: how often each took one; who was killed at what."""

    taken: Counter[int] = field(default_factory=Counter)
    ended: int = 0
    kills: int = 0
    # Of each shard, how many of its runs were killed.
    killed: Counter[Shard] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Ground:
    """An installation in queue mode whose messages are taken by instances in processes of their own."""

    installation: Installation
    clock: Clock
    queues: Queues
    instances: Instances

    def tick(self, *, kill: random.Random | None = None, longest_s: float) -> Tally:
        """Let a timer fire, and all its messages be dealt with; with `kill` instances die at random times."""
        self.clock.now += TICK
        messages = plan_tick("people_counter", wire(self.installation.settings()))
        for message in messages:
            self.queues.put(QUEUE, message.text())
        tally, at = Tally(), dict[int, ShardMessage]()
        doomed: dict[int, float] = {}
        until = time.monotonic() + longest_s
        while at or self.queues.waiting(QUEUE):
            assert time.monotonic() < until, f"{self.queues.waiting(QUEUE)} messages are left"
            step = self.instances.next(0.05)
            if step is not None and step.what == "taken":
                tally.taken[step.process] += 1
                at[step.process] = ShardMessage.parse(step.text)
                if kill is not None and kill.random() < 0.5:
                    doomed[step.process] = time.monotonic() + kill.uniform(0, 1.2)
            elif step is not None and step.what == "ended":
                tally.ended += 1
                del at[step.process]
                doomed.pop(step.process, None)
            for process in [each for each, when in doomed.items() if when <= time.monotonic()]:
                del doomed[process]
                self.instances.kill(process)
                tally.kills += 1
                tally.killed[at.pop(process).shard] += 1
        return tally


@contextmanager
def ground(
    folder: Path,
    azurite_port: int,
    queue_port: int,
    *,
    locations: int,
    shards: int,
    instances: int,
    slow_s: float,
) -> Iterator[Ground]:
    buildings = [Building(f"Hall {number:04}") for number in range(locations)]
    estate = Estate(
        buildings=[replace(each, groups=each.groups[:1]) for each in buildings], people_lag=timedelta(0)
    )
    clock, queues = Clock(NOW), Queues(queue_port)
    for name in (QUEUE, POISON):
        queues.remove(name)
        queues.make(name)
    table_environment(azurite_port)
    with ExitStack() as stack:
        relay = Relay(azurite_port)
        stack.callback(relay.close)
        # A killed run keeps its lease for a minute by this clock; here it is over when the next tick comes.
        relay.clock_ahead = LEASE_OVER
        source = stack.enter_context(MicroshareEmulator(estate, clock=clock))
        source.faults.slow(slow_s, on="query")
        hubs = stack.enter_context(EventHubsEmulator(["a", "b"]))
        environ = {
            "STATE_STORE": "table",
            "AzureWebJobsStorage": connection_string(relay.port, queue_port=queue_port),
            "SCALE_OUT": "queue",
            "SCALE_OUT_SHARDS": str(shards),
            "START_FROM": BEGIN.isoformat(),
        }
        installation = Installation(source, hubs, clock, folder, environ)
        of_child = {"PATH": os.environ["PATH"], **installation.environ}
        running = Instances(instances, of_child, queue_port, VISIBILITY, folder / "instances.log")
        yield Ground(installation, clock, queues, stack.enter_context(running))


def judge(ground: Ground, killed: Counter[Shard], shards: int) -> list[str]:
    """Say what is wrong at the hubs after some runs were killed."""
    wrong: list[str] = []
    owed = ground.installation.published(BEGIN)
    for hub in (ground.installation.a, ground.installation.b):
        arrived = arrivals(hub.received())
        at_hub = {reading for arrival in arrived for reading in arrival.readings}
        again = list(repeated(arrived))
        wrong += [*lost(owed, at_hub), *invented(owed, at_hub), *altered(arrived), *out_of_order(arrived)]
        wrong += [under_another_id(each) for each in again if each.first != each.arrival.message_id]
        # A run that was killed may have sent what it could not save: once more for each, and no more.
        for reading, times in Counter(each.reading for each in again).items():
            if times > killed[Shard.of_location(reading.location, shards)]:
                wrong.append(f"repeated {times} times: {reading}")
    return wrong


def play(ground: Ground, *, shards: int, instances: int, rng: random.Random, longest_s: float) -> None:
    """Two ticks in which instances are killed, between two in which none is; then judge all of it."""
    first = ground.tick(longest_s=longest_s)
    rough = [ground.tick(kill=rng, longest_s=longest_s) for _ in range(2)]
    last = ground.tick(longest_s=longest_s)

    kills = sum(tally.kills for tally in rough)
    killed = sum((tally.killed for tally in rough), Counter[Shard]())
    left = sum(shards - tally.ended for tally in rough)
    assert kills, "nothing was killed: this says nothing"
    assert judge(ground, killed, shards) == []
    # One that is killed between its end and its message's is poison as well.
    assert left <= ground.queues.waiting(POISON) <= kills
    assert (first.ended, last.ended) == (shards, shards)
    assert len(first.taken) == instances
    assert max(first.taken.values()) <= 2 * shards / instances


def test_instances_that_are_killed_lose_nothing_and_repeat_no_more_than_is_promised(
    tmp_path: Path, azurite_port: int, azurite_queue_port: int
) -> None:
    with ground(
        tmp_path, azurite_port, azurite_queue_port, locations=60, shards=6, instances=3, slow_s=0.1
    ) as found:
        play(found, shards=6, instances=3, rng=random.Random(3), longest_s=60)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_instances_share_2_000_locations_of_a_slow_source(
    tmp_path: Path, azurite_port: int, azurite_queue_port: int
) -> None:
    with ground(
        tmp_path, azurite_port, azurite_queue_port, locations=2000, shards=16, instances=4, slow_s=0.2
    ) as found:
        play(found, shards=16, instances=4, rng=random.Random(5), longest_s=300)
