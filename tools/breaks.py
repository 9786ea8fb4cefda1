"""The breaks that are planted: what a careless colleague might make of the code, each once.

Grouped by the room that they are in. `tools.planted_breaks` plants them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlantedBreak:
    """`old` stands once in `file` and becomes `new`.

    `tests` are those that must notice, as pytest names them. Where none is named the simulation must, or
    tests of the core: it has a stand-in for much of what lies around the core, and notices nothing there.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


def _noticed_by(file: str, test: str) -> tuple[str]:
    return (f"{file}::{test}",)


_IN_THE_CORE = (
    PlantedBreak(
        "a rejected batch counts as delivered",
        "app/run/forwarder.py",
        "self._handover.rejected(hub, delivery, str(error))\n",
        "self._handover.delivered(hub, delivery, maybe_twice=False)\n",
    ),
    PlantedBreak(
        "a slice is closed by its first batch",
        "app/run/delivery.py",
        "            closes=done_until,\n            newest=newest,\n            duplicates=duplicates,\n"
        "        )\n        deliveries |=",
        "        )\n"
        "        queue[0] = replace(queue[0], closes=done_until, newest=newest, duplicates=duplicates)\n"
        "        deliveries |=",
    ),
    PlantedBreak(
        "no look-back",
        "app/run/planning.py",
        "floor = max(spoken - limits.look_back, furthest)",
        "floor = max(spoken, furthest)",
    ),
    PlantedBreak(
        "questions go before known_from",
        "app/run/fetching.py",
        "asked = Slice(max(window.start - OVERLAP, earliest), window.end)",
        "asked = Slice(window.start - OVERLAP, window.end)",
    ),
    PlantedBreak(
        "slices are planned from before known_from",
        "app/run/planning.py",
        "return max(floor, checkpoint.known_from)",
        "return floor",
        _noticed_by("tests/unit/test_planning.py", "test_a_run_begins_to_read_at_the_read_floor"),
    ),
    PlantedBreak(
        "the newest reading is the location's, not the hub's",
        "app/run/ledger.py",
        "_Plan(checkpoint, read_floor(checkpoint, self._limits))",
        "_Plan(checkpoint, max(read_floor(checkpoint, self._limits), min(checkpoint.delivered_until, "
        "self.location(name).newest or checkpoint.delivered_until) - self._limits.look_back))",
    ),
    PlantedBreak(
        "the newest reading counts, whichever slice of a run shows it",
        "app/run/ledger.py",
        "return before.newest if before else None",
        "return LATEST",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_a_slice_that_comes_back_to_its_hub_counts_only_up_to_what_was_shown_before_the_run",
        ),
    ),
    PlantedBreak(
        "the horizon is the host's clock",
        "app/base/clocks.py",
        "return self.host if self.api is None else min(self.host, self.api)",
        "return self.host",
    ),
    PlantedBreak(
        "what is put into a lane counts as acknowledged",
        "app/run/handover.py",
        "                self._lanes.put(hub, delivery)\n",
        "                self._lanes.put(hub, delivery)\n"
        "                self._ledger.delivered(hub, delivery, self._now())\n",
    ),
    PlantedBreak(
        "ids are forgotten within the reach",
        "app/base/checkpoints.py",
        "for hour, ids in self.ids.items() if hour >= oldest}",
        "for hour, ids in self.ids.items() if hour > position - timedelta(hours=2)}",
    ),
    PlantedBreak(
        "ids are forgotten without raising known_from, at half the reach",
        "app/base/checkpoints.py",
        "        ids = {hour: ids for hour, ids in self.ids.items() if hour >= oldest}\n"
        "        return Checkpoint(position, oldest, ids, seen)\n",
        "        ids = {hour: ids for hour, ids in self.ids.items() if hour >= oldest + reach / 2}\n"
        "        return Checkpoint(position, self.known_from, ids, seen)\n",
    ),
    PlantedBreak(
        "the first checkpoint is computed anew while nothing was delivered",
        "app/run/locations.py",
        "            if checkpoint is None:\n",
        "            if checkpoint is None or not checkpoint.ids:\n",
    ),
    PlantedBreak(
        "first checkpoints are not saved before sending",
        "app/run/forwarder.py",
        "        self._saving.save(self._ledger)\n        self._await_lanes()\n",
        "        self._await_lanes()\n",
    ),
    PlantedBreak(
        "no save at the end of a run",
        "app/run/forwarder.py",
        "            self._ledger.update(last_run=self._telling.last_run(self._available))\n"
        "            self._saving.save(self._ledger)\n",
        "            self._ledger.update(last_run=self._telling.last_run(self._available))\n",
    ),
    PlantedBreak(
        "sending goes on after a failed save",
        "app/run/saving.py",
        "                self._unsaved = str(error)\n",
        "                self._unsaved = None\n",
    ),
    PlantedBreak(
        "sending goes on without the run lock",
        "app/run/saving.py",
        'return "the run lock was lost" if lost else self._unsaved',
        "return self._unsaved",
    ),
    PlantedBreak(
        "a location that another run changed goes on",
        "app/run/saving.py",
        "            self._give_up(error)\n",
        "            pass\n",
    ),
    PlantedBreak(
        "readings are told apart by time, not by id",
        "app/run/delivery.py",
        "if not _is_known(feed, group, found, known)]",
        "if found.time is None or found.time >= group.checkpoint.delivered_until]",
    ),
    PlantedBreak(
        "a full answer counts as complete",
        "app/run/fetching.py",
        "full = lines >= record_limit * _FULL_SHARE",
        "full = lines < 0",
    ),
    PlantedBreak(
        "what a halved slice left over is skipped",
        "app/run/fetching.py",
        "done = Slice(window.start, asked.end)",
        "done = window",
    ),
    PlantedBreak(
        "a full millisecond is not kept as a gap",
        "app/run/ledger.py",
        "gaps=gaps_kept((*location.gaps, gap))))\n        return True\n",
        "gaps=gaps_kept(location.gaps)))\n        return True\n",
    ),
    PlantedBreak(
        "all hubs of a location share one position",
        "app/run/ledger.py",
        "                checkpoints={**location.checkpoints, hub: checkpoint},\n",
        "                checkpoints=dict.fromkeys(location.checkpoints, checkpoint),\n",
    ),
    PlantedBreak(
        "a reading that could not be quarantined is passed over",
        "app/run/handover.py",
        "                    self._available.refused(name, hub, "
        'f"a reading could not be quarantined: {error}")\n'
        "                return False\n",
        "                    _ = hub\n                continue\n",
    ),
    PlantedBreak(
        "a position goes back",
        "app/base/checkpoints.py",
        "position = max(self.delivered_until, end)",
        "position = end",
    ),
    PlantedBreak(
        "known_from goes down",
        "app/base/checkpoints.py",
        "        if oldest <= self.known_from:\n",
        "        if oldest == self.known_from:\n",
    ),
    PlantedBreak(
        "a position that is ahead of the horizon is asked for",
        "app/run/planning.py",
        "if group.cursor >= horizon or is_ahead:",
        "if group.cursor >= horizon:",
        _noticed_by(
            "tests/unit/test_planning.py",
            "test_nothing_is_planned_for_a_position_that_is_ahead_of_the_horizon",
        ),
    ),
    PlantedBreak(
        "clocks that are far apart fail no run",
        "app/run/horizon.py",
        "    clocks.require_agreement(last_run)\n",
        "",
    ),
    PlantedBreak(
        "a run whose clocks are far apart changes the state",
        "app/run/forwarder.py",
        "        self._knows_the_time = False\n",
        "        self._knows_the_time = True\n",
    ),
    PlantedBreak(
        "a process that kept its token believes its host's clock",
        "app/run/horizon.py",
        "    client.learn_time(cluster_ids)\n",
        "",
    ),
    PlantedBreak(
        "a time far from the host's counts in mid-run",
        "app/base/clocks.py",
        "if self._told is not None and clocks.are_apart:",
        "if self._told is None and clocks.are_apart:",
    ),
    PlantedBreak(
        "a second wrong time in a row goes on",
        "app/run/horizon.py",
        "if found.in_a_row == 2]",
        "if found.in_a_row < 0]",
    ),
    PlantedBreak(
        "any answer tells the API's clock",
        "app/microshare/client.py",
        "        check_status(question, answer, self._clock())\n",
        "        self._saw_time(answer)\n        check_status(question, answer, self._clock())\n",
        _noticed_by(
            "tests/unit/test_microshare_client.py",
            "test_an_answer_that_is_not_the_api_s_own_says_nothing_of_its_clock",
        ),
    ),
    PlantedBreak(
        "the age of an answer from a cache does not count",
        "app/microshare/retries.py",
        "return date + timedelta(seconds=int(age))",
        "return date",
        _noticed_by(
            "tests/unit/test_microshare_client.py",
            "test_the_age_of_an_answer_from_a_cache_is_added_to_its_date",
        ),
    ),
    PlantedBreak(
        "a part that fits no message vanishes",
        "app/eventhub/batches.py",
        "                oversize += part.readings\n",
        "                continue\n",
        _noticed_by(
            "tests/unit/test_hub_batches.py",
            "test_a_part_that_fits_no_message_is_oversize_and_the_other_parts_are_sent",
        ),
    ),
    PlantedBreak(
        "a save that does not fit as a whole is passed over",
        "app/run/saving.py",
        "if not isinstance(error, StateConflict | StateTooLarge) or not error.locations:",
        "if not isinstance(error, StateConflict | StateTooLarge):",
    ),
    PlantedBreak(
        "a repair saves over the run that came before it",
        "app/audit/repair.py",
        "before = after = self.wiring.store.load(name)",
        "before = after = self.compared.state",
        _noticed_by(
            "tests/unit/test_repair.py",
            "test_a_run_between_the_comparison_and_the_repair_keeps_what_it_saved",
        ),
    ),
    PlantedBreak(
        "plain HTTP with a port is taken",
        "app/settings/rules.py",
        'if url.scheme == "http" and not is_loopback(host):',
        'if url.scheme == "http" and not is_loopback(host) and not url.port:',
        _noticed_by("tests/unit/test_settings.py", "test_a_bad_variable_is_named_with_what_to_write"),
    ),
    PlantedBreak(
        "a slice may end before it begins",
        "app/run/fetching.py",
        "if shared > max(asked.start, window.start):",
        "if shared > asked.start:",
        _noticed_by(
            "tests/unit/test_slicing_properties.py", "test_a_fetch_always_ends_after_its_slice_begins"
        ),
    ),
    PlantedBreak(
        "a port is advised though other hubs are reached",
        "app/run/availability.py",
        "        if self.connected and isinstance(error, HubUnreachable):\n",
        "        if not self.connected and isinstance(error, HubUnreachable):\n",
        _noticed_by(
            "tests/unit/test_outages.py",
            "test_a_hub_that_is_lost_beside_another_that_is_reached_is_told_at_once",
        ),
    ),
    PlantedBreak(
        "a monitor hears of a run's end before its beginning",
        "app/run/pings.py",
        "        self._tell(self._beginning)\n",
        "",
        _noticed_by(
            "tests/flows/test_pings.py", "test_the_end_is_told_after_the_beginning_though_that_takes_longer"
        ),
    ),
    PlantedBreak(
        "lines of the journal begin with their time",
        "app/base/log.py",
        "_JournalLines if _leads_to(journal_stream) else _DatedLines",
        "_DatedLines if _leads_to(journal_stream) else _DatedLines",
        _noticed_by(
            "tests/unit/test_log_format.py",
            "test_in_the_journal_each_line_begins_with_its_priority_and_its_event",
        ),
    ),
    PlantedBreak(
        "refusals are counted in a run, not in a row",
        "app/eventhub/broadcaster.py",
        "            self._refused_in_a_row = 0\n        took_s",
        "        took_s",
        _noticed_by(
            "tests/unit/test_broadcaster.py", "test_refused_locations_among_good_ones_are_their_own_fault"
        ),
    ),
    PlantedBreak(
        "a lock that is held covers a feed that failed",
        "app/cli/session.py",
        "(ALL_WELL, LOCKED, SOMETHING_WRONG, REFUSED)",
        "(ALL_WELL, SOMETHING_WRONG, LOCKED, REFUSED)",
        _noticed_by("tests/unit/test_cli.py", "test_the_worst_of_two_endings_is_told_whichever_came_first"),
    ),
    PlantedBreak(
        "two feeds share one state",
        "app/run/feed_checks.py",
        "if a.state_name.lower() == b.state_name.lower():",
        "if a.state_name == b.state_name.upper():",
        _noticed_by(
            "tests/unit/test_feed_checks.py",
            "test_two_feeds_that_share_what_must_be_their_own_are_both_named",
        ),
    ),
    PlantedBreak(
        "what is planned for a hub is not counted as had",
        "app/run/ledger.py",
        "after = before.with_hours(ids).done_until(",
        "after = before.done_until(",
    ),
    PlantedBreak(
        "one hub's failure ends the run for all",
        "app/run/forwarder.py",
        "        self._handover.closed(hub)\n",
        "        self._handover.closed(hub)\n        self._opens_no_more = True\n",
    ),
    PlantedBreak(
        "one location's failure ends the run for all",
        "app/run/forwarder.py",
        "        if isinstance(error, AuthError | Interrupted):\n",
        "        if isinstance(error, ForwarderError):\n",
    ),
    PlantedBreak(
        "a building that discovery no longer lists is left at once",
        "app/base/checkpoints.py",
        "LOCATION_KEPT = timedelta(hours=48)",
        "LOCATION_KEPT = timedelta(0)",
    ),
    PlantedBreak(
        "a repeat has another message id",
        "app/feeds/flat.py",
        "return Event(reading.id, location,",
        'return Event(f"{reading.id}{id(reading)}", location,',
    ),
    PlantedBreak(
        "readings are sent in the order of their ids",
        "app/feeds/feed.py",
        "    return reading.time or EPOCH, reading.id\n",
        "    return EPOCH, reading.id\n",
    ),
    PlantedBreak(
        "a correction has the id of what it corrects",
        "app/feeds/feed.py",
        "halves = _digest(key) + _digest(content)",
        "halves = _digest(key) * 2",
    ),
    PlantedBreak(
        "the horizon does not follow the API's clock back",
        "app/run/forwarder.py",
        "            self._horizon.follow()\n            self._note_fetched(",
        "            self._note_fetched(",
    ),
    PlantedBreak(
        "a query that failed counts as an empty answer",
        "app/run/fetching.py",
        "        except WindowTooWide as error:\n"
        "            asked = _shorter_after(error, asked, window)\n"
        "            too_wide = True\n"
        "            continue\n",
        "        except WindowTooWide as error:\n            return Fetched(window, (), 0, (str(error),))\n",
    ),
    PlantedBreak(
        "pages that do not add up count as a whole",
        "app/microshare/paging.py",
        "return Pages(second.objs, None if same else _flaw(second), _warnings(second))",
        "return Pages(second.objs, None, _warnings(second))",
    ),
    PlantedBreak(
        "the first page counts as all of them",
        "app/microshare/paging.py",
        "        return len(pages) >= page.total_pages\n",
        "        return True\n",
    ),
    PlantedBreak(
        "an hour that is sent again is sent in part",
        "app/feeds/hourly_snapshot.py",
        'whole[hour] if settings.late == "hour" else readings',
        "readings",
    ),
    PlantedBreak(
        "a reading beside its slice is remembered under the slice's end",
        "app/run/delivery.py",
        "kept = Slice(group.checkpoint.known_from, fetched.window.end)",
        "kept = Slice(fetched.window.start, max(done_until, fetched.window.start))",
        _noticed_by(
            "tests/unit/test_delivery.py",
            "test_a_reading_beside_its_slice_makes_what_comes_late_of_its_hour_an_update",
        ),
    ),
    PlantedBreak(
        "an hour that leaves the reach gets no seal",
        "app/run/ledger.py",
        "seals = sealed(seals, full, checkpoint)",
        "_ = sealed",
    ),
    PlantedBreak(
        "hours are sealed as if they were empty",
        "app/quality/hourly_digests.py",
        "kept.setdefault(hour, seal(before.ids.get(hour, ())))",
        "kept.setdefault(hour, seal(()))",
    ),
    PlantedBreak(
        "no hour ever differs from the source",
        "app/quality/hourly_digests.py",
        "        return MISSED\n",
        "        return None\n",
    ),
    PlantedBreak(
        "an hour that differs is no gap",
        "app/quality/hourly_digests.py",
        "            gaps.append(Gap(window, MISSED, found, difference.hubs))",
        "            _ = found",
    ),
    PlantedBreak(
        "an hour that differs is told every day",
        "app/quality/hourly_digests.py",
        "if kind and not _in_gap(location.gaps, hub, hour):",
        "if kind:",
        _noticed_by("tests/unit/test_proof.py", "test_an_hour_in_a_known_gap_is_not_told_again"),
    ),
    PlantedBreak(
        "a seal does not follow the source",
        "app/quality/hourly_digests.py",
        "seals[hub] = {**had, **shown}",
        "seals[hub] = {**had}",
        _noticed_by(
            "tests/unit/test_proof.py", "test_what_was_published_later_is_told_once_for_the_hubs_that_lack_it"
        ),
    ),
    PlantedBreak(
        "one comparison is enough for ever",
        "app/quality/hourly_digests.py",
        "    return now - location.compared >= DAY\n",
        "    return False\n",
    ),
    PlantedBreak(
        "a comparison sees the hours of the first hub only",
        "app/quality/hourly_digests.py",
        "    for hub in hubs:\n        had = location.seals.get(hub)\n",
        "    for hub in list(hubs)[:1]:\n        had = location.seals.get(hub)\n",
    ),
    PlantedBreak(
        "a reading that is in every answer is forgotten after a day",
        "app/run/delivery.py",
        "    strays = _strays(group.checkpoint, fetched, done_until, settings.look_back)\n",
        "    strays = _Remembered((), kept)\n",
    ),
    PlantedBreak(
        "halves that are full count as complete",
        "app/run/fetching.py",
        "        if any(count_lines(half) >= record_limit * _FULL_SHARE for half in halves):\n",
        "        if count_lines(answer) < 0:\n",
        _noticed_by(
            "tests/unit/test_fetching.py", "test_halves_that_are_full_are_asked_for_in_smaller_parts"
        ),
    ),
    PlantedBreak(
        "what differs is not asked for again",
        "app/run/observer.py",
        "for hour in sorted({difference.hour for difference in found}):",
        "for hour in sorted({difference.hour for difference in found})[:0]:",
        _noticed_by(
            "tests/unit/test_observer.py",
            "test_an_hour_that_differs_is_asked_for_once_more_and_no_gap_where_it_is_whole_then",
        ),
    ),
)

_AT_HUBS = (
    PlantedBreak(
        "a busy hub is sent to at the pace of before",
        "app/eventhub/broadcaster.py",
        "        self._pace_s = _SLOWEST_PACE_S\n",
        "        self._pace_s = 0.0\n",
        _noticed_by(
            "tests/unit/test_broadcaster.py",
            "test_a_busy_hub_gets_the_same_batch_again_and_then_the_others_at_a_pace_that_rises",
        ),
    ),
    PlantedBreak(
        "a hub that stays busy is asked again as soon as before",
        "app/eventhub/broadcaster.py",
        "min(_LONGEST_BUSY_WAIT_S, self._busy_wait_s * 2)",
        "_SHORTEST_BUSY_WAIT_S",
        _noticed_by(
            "tests/unit/test_broadcaster.py",
            "test_busy_answers_with_acknowledgements_between_them_never_close_a_lane_and_are_waited_out_longer",
        ),
    ),
    PlantedBreak(
        "a busy hub is waited for past the end of the run",
        "app/eventhub/broadcaster.py",
        "if self._busy_wait_s >= self._budget.remaining():",
        "if self._budget.remaining() <= 0:",
        _noticed_by(
            "tests/unit/test_broadcaster.py", "test_a_busy_hub_is_not_waited_for_past_the_end_of_the_run"
        ),
    ),
    PlantedBreak(
        "a location goes on after a batch that its hub refused",
        "app/eventhub/broadcaster.py",
        "        self.stop_location(delivery.location)\n        self._refused_in_a_row += 1",
        "        self._refused_in_a_row += 1",
        _noticed_by(
            "tests/unit/test_broadcaster.py", "test_a_rejected_batch_stops_its_location_for_that_hub_alone"
        ),
    ),
    PlantedBreak(
        "what a hub refused stays in its lane's count",
        "app/eventhub/broadcaster.py",
        "                return True\n"
        "            finally:\n"
        "                self.count(delivery, -1)\n"
        "            self._refused_in_a_row",
        "                return True\n"
        "            self.count(delivery, -1)\n"
        "            self._refused_in_a_row",
        _noticed_by(
            "tests/unit/test_broadcaster.py",
            "test_a_lane_has_room_again_for_what_was_acknowledged_refused_or_dropped",
        ),
    ),
    PlantedBreak(
        "a lane does not ask whether anything may be sent",
        "app/eventhub/broadcaster.py",
        "        reason = self._may_send()\n",
        "        reason = None\n",
        _noticed_by(
            "tests/unit/test_broadcaster.py", "test_nothing_is_sent_from_the_moment_that_nothing_may_be"
        ),
    ),
    PlantedBreak(
        "a batch is begun whether or not the run leaves it time",
        "app/eventhub/broadcaster.py",
        "return self._budget.left() > 0 or self._budget.remaining() > self._slowest_send_s * 1.5",
        "return self._budget.remaining() > 0",
        _noticed_by(
            "tests/unit/test_broadcaster.py",
            "test_after_the_budget_a_batch_is_begun_only_where_the_slowest_so_far_would_still_fit",
        ),
    ),
    PlantedBreak(
        "a call may last to the hard end of the run",
        "app/eventhub/broadcaster.py",
        "min(limit_s, self._budget.remaining() - _TELLING_S)",
        "min(limit_s, self._budget.remaining())",
        _noticed_by(
            "tests/unit/test_broadcaster.py",
            "test_a_call_is_given_up_a_second_before_the_hard_end_so_that_its_failure_is_still_told",
        ),
    ),
    PlantedBreak(
        "a throttled hub counts as lost",
        "app/eventhub/hub.py",
        '_BUSY = ("server-busy", "resource-limit-exceeded", "50002")',
        '_BUSY = ("server-busy", "resource-limit-exceeded")',
        _noticed_by("tests/unit/test_hub_batches.py", "test_what_the_sdk_raises_is_told_by_what_to_do"),
    ),
    PlantedBreak(
        "a batch that may be there twice counts as one",
        "app/eventhub/hub.py",
        "        return self._link() is not link\n",
        "        return self._link() is None\n",
        _noticed_by("tests/unit/test_hub.py", "test_a_batch_that_went_over_a_new_link_may_be_there_twice"),
    ),
    PlantedBreak(
        "a call past its deadline goes on behind the run's back",
        "app/eventhub/deadlines.py",
        "    if not done:\n        await cancel(task)\n        raise TimeoutError",
        "    if not done:\n        raise TimeoutError",
        _noticed_by(
            "tests/unit/test_hub.py", "test_a_call_past_its_deadline_is_ended_so_that_it_cannot_send_later"
        ),
    ),
    PlantedBreak(
        "a cancellation that the SDK swallowed is not repeated",
        "app/eventhub/deadlines.py",
        "_CANCELLATIONS = 5",
        "_CANCELLATIONS = 1",
        _noticed_by(
            "tests/unit/test_hub.py", "test_a_call_past_its_deadline_is_ended_so_that_it_cannot_send_later"
        ),
    ),
    PlantedBreak(
        "a WebSocket that comes to nothing stays open",
        "app/eventhub/websockets.py",
        "            if session is not None:\n",
        "            if session is None:\n",
        _noticed_by("tests/flows/test_hub_by_proxy.py", "test_a_hub_that_is_not_reached_leaves_nothing_open"),
    ),
    PlantedBreak(
        "a reader whose connection is cut never connects again",
        "app/eventhub/reader.py",
        "                if self._monotonic() - began < _STEADY_S:\n                    raise\n",
        "                raise\n",
        _noticed_by(
            "tests/unit/test_reader.py",
            "test_a_connection_that_is_cut_is_opened_again_after_the_last_event_of_each_partition",
        ),
    ),
    PlantedBreak(
        "a reader whose connection is cut reads from the beginning",
        "app/eventhub/reader.py",
        "                    self._after[received.partition] = received.sequence\n",
        "                    self._after.setdefault(received.partition, received.sequence)\n",
        _noticed_by(
            "tests/unit/test_reader.py",
            "test_a_connection_that_is_cut_is_opened_again_after_the_last_event_of_each_partition",
        ),
    ),
    PlantedBreak(
        "a hub that cuts at once is connected to for ever",
        "app/eventhub/reader.py",
        "if self._monotonic() - began < _STEADY_S:",
        "if self._monotonic() < began:",
        _noticed_by(
            "tests/unit/test_reader.py", "test_a_connection_that_does_not_last_half_a_minute_is_an_error"
        ),
    ),
)
_IN_A_REPAIR = (
    PlantedBreak(
        "what two runs did not bring is said to come with the next",
        "app/audit/causes.py",
        " and checkpoint.delivered_until >= expected\n",
        "\n",
        _noticed_by(
            "tests/unit/test_audit.py",
            "test_one_behind_is_wrong_where_the_hub_is_far_behind_or_fails_or_has_no_position",
        ),
    ),
    PlantedBreak(
        "a repair sends what came since the comparison",
        "app/audit/repair.py",
        "for found, time in wanted.items() if found not in came}",
        "for found, time in wanted.items()}",
        _noticed_by(
            "tests/unit/test_repair.py", "test_what_came_to_a_hub_since_it_was_compared_is_not_sent_again"
        ),
    ),
    PlantedBreak(
        "a repair does not remember what it sent",
        "app/audit/repair.py",
        "            after = remember(after, location, hub, [(hour_of(time), found) for time, "
        "found in sent])\n",
        "            _ = remember, hour_of, location, hub, sent\n",
        _noticed_by(
            "tests/unit/test_repair.py", "test_what_was_sent_is_remembered_at_its_hub_and_positions_stay"
        ),
    ),
    PlantedBreak(
        "a repair closes a gap for hubs that still lack some of it",
        "app/audit/repair.py",
        "                and not _lacks(compared, key, location, gap.window, assume_sent=assume_sent)\n",
        "                and (assume_sent or not _lacks(compared, key, location, gap.window, "
        "assume_sent=True))\n",
        _noticed_by(
            "tests/unit/test_repair.py", "test_a_gap_is_closed_for_the_hubs_that_lack_nothing_of_it_any_more"
        ),
    ),
    PlantedBreak(
        "a repair closes a gap of which the source shows only some",
        "app/audit/repair.py",
        "            if not compared.source.shows_all_of(location, gap.window):\n                continue\n",
        "",
        _noticed_by("tests/unit/test_repair.py", "test_a_gap_of_which_the_source_does_not_show_all_stays"),
    ),
    PlantedBreak(
        "a repair takes the beginning of an answer for all of it",
        "app/audit/repair.py",
        "                    window = Slice(fetched.window.end, window.end)\n",
        "                    window = Slice(window.end, window.end)\n",
        _noticed_by(
            "tests/unit/test_repair.py",
            "test_where_an_answer_ends_before_its_window_what_is_left_is_asked_for",
        ),
    ),
    PlantedBreak(
        "a repair waits for a hub that has gone",
        "app/audit/repair.py",
        "                self.under_way[hub] = 0\n",
        "                self.largest.pop(hub, None)\n",
        _noticed_by(
            "tests/unit/test_repair.py",
            "test_a_hub_that_goes_is_named_its_acknowledged_readings_count_and_the_other_gets_all",
        ),
    ),
    PlantedBreak(
        "a repair saves without the run lock",
        "app/audit/repair.py",
        "        if different and not self.lock.held():\n",
        "        if different and self.lock is None:\n",
        _noticed_by(
            "tests/unit/test_repair.py",
            "test_a_repair_that_lost_its_lock_sends_nothing_more_and_notes_nothing",
        ),
    ),
    PlantedBreak(
        "a rejected batch of a repair counts as sent",
        "app/audit/repair.py",
        "            case Rejected(hub, _, error):\n                self.under_way[hub] -= 1\n",
        "            case Rejected(hub, delivery, error):\n"
        "                self.under_way[hub] -= 1\n"
        "                self._delivered(hub, delivery)\n",
        _noticed_by("tests/unit/test_repair.py", "test_a_batch_that_a_hub_does_not_take_is_no_reading_sent"),
    ),
)
_IN_WHAT_IS_NOTICED = (
    PlantedBreak(
        "a silence that lasts is told every week",
        "app/quality/drift.py",
        "if drift not in over and (drift.kind == SILENT or now - drift.since < _TOLD_FOR)",
        "if drift not in over and now - drift.since < _TOLD_FOR",
        _noticed_by(
            "tests/unit/test_drift.py",
            "test_what_was_told_is_kept_for_a_week_and_a_silence_as_long_as_it_lasts",
        ),
    ),
    PlantedBreak(
        "a sensor is silent whatever its longest silence was",
        "app/quality/drift.py",
        "max(least, _TIMES_LONGEST * sensor.longest)",
        "least",
        _noticed_by(
            "tests/unit/test_drift.py",
            "test_a_sensor_is_silent_when_neither_the_look_back_nor_its_own_history_explains_it",
        ),
    ),
    PlantedBreak(
        "a key that is gone is told in every run",
        "app/quality/drift.py",
        "if not seen.vanished and now - seen.last >= _KEY_VANISHED",
        "if now - seen.last >= _KEY_VANISHED",
        _noticed_by(
            "tests/unit/test_drift.py",
            "test_a_key_vanishes_after_two_days_and_is_told_once_until_it_comes_again",
        ),
    ),
    PlantedBreak(
        "a building is the same where one device is",
        "app/quality/drift.py",
        "fewer > 0 and len(one.sketch & other.sketch) >= fewer * _SAME_DEVICES",
        "bool(one.sketch & other.sketch) and fewer > 0",
        _noticed_by("tests/unit/test_drift.py", "test_a_building_is_the_same_where_half_of_its_devices_are"),
    ),
    PlantedBreak(
        "a location whose query failed is called silent",
        "app/run/observer.py",
        "for name in sorted({*answered} & (listed | {*self._settings.locations})):",
        "for name in sorted(listed | {*self._settings.locations} | {*answered}):",
        _noticed_by(
            "tests/unit/test_observer.py", "test_a_location_is_not_called_silent_where_that_is_not_known"
        ),
    ),
    PlantedBreak(
        "a correction counts as late",
        "app/run/observer.py",
        "        new = first_seen(fetched.readings, self._ledger.known(name))\n",
        "        new = list(fetched.readings)\n        _ = first_seen\n",
        _noticed_by(
            "tests/unit/test_observer.py",
            "test_lateness_is_from_a_reading_s_time_to_when_it_was_shown_of_what_no_hub_has_had",
        ),
    ),
    PlantedBreak(
        "a location's query fails since the last run, not the first",
        "app/run/ledger.py",
        "        since = location.since if location.error else at\n",
        "        since = at\n",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_a_query_that_goes_on_failing_fails_since_the_first_time_and_anew_after_it_was_well",
        ),
    ),
    PlantedBreak(
        "a hub that begins anew forgets where it began first",
        "app/run/ledger.py",
        "first = start if record.start is None else min(start, record.start)",
        "first = start",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_a_hub_that_begins_anew_keeps_the_earliest_start_and_when_its_location_began",
        ),
    ),
    PlantedBreak(
        "a hub that is back is well where it refuses readings too",
        "app/run/ledger.py",
        "if record is not None and record.error is not None and name not in but:",
        "if record is not None and record.error is not None:",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_a_hub_that_works_again_is_well_at_every_location_but_those_it_refuses_and_keeps_its_counts",
        ),
    ),
    PlantedBreak(
        "what is yet to come says how far the source has spoken",
        "app/run/ledger.py",
        "if reading.time is not None and reading.time <= until]",
        "if reading.time is not None]",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_the_newest_reading_is_never_an_older_one_nor_one_that_is_yet_to_come",
        ),
    ),
    PlantedBreak(
        "a hub fails since the last run, not the first",
        "app/base/checkpoints.py",
        "since=self.since if self.error else at)",
        "since=at)",
        _noticed_by(
            "tests/unit/test_ledger.py",
            "test_a_hub_that_goes_on_failing_fails_since_the_first_time_with_the_last_error",
        ),
    ),
    PlantedBreak(
        "a feed fails since the last run, not the first",
        "app/run/telling.py",
        "(available.failed_before.since or self.started)",
        "self.started",
        _noticed_by(
            "tests/unit/test_outages.py", "test_a_feed_fails_since_the_first_run_of_those_that_failed"
        ),
    ),
    PlantedBreak(
        "a hub that fails is told in every run",
        "app/run/availability.py",
        "        if hub not in self.failed_before.hubs:\n            self._log",
        "        if hub:\n            self._log",
        _noticed_by(
            "tests/unit/test_outages.py",
            "test_a_hub_that_fails_for_days_is_told_when_it_begins_and_when_it_is_over",
        ),
    ),
    PlantedBreak(
        "a hub's own failure is a refusal of each location too",
        "app/run/outages.py",
        "            if record.error and hub not in hubs\n",
        "            if record.error\n",
        _noticed_by(
            "tests/unit/test_outages.py", "test_what_was_failing_is_told_apart_by_whose_fault_it_was"
        ),
    ),
    PlantedBreak(
        "discovery is asked for in every run",
        "app/run/locations.py",
        "return -_CLOCK_TOLERANCE <= horizon - discovery.at < kept",
        "return horizon == discovery.at",
        _noticed_by("tests/unit/test_locations.py", "test_discovery_is_asked_for_once_an_hour"),
    ),
    PlantedBreak(
        "missing rights of discovery are a warning",
        "app/run/locations.py",
        "if isinstance(error, NoPermission | SourceRefused):",
        "if isinstance(error, SourceRefused):",
        _noticed_by(
            "tests/unit/test_locations.py",
            "test_where_discovery_fails_the_last_list_is_used_and_that_is_told",
        ),
    ),
)
_IN_SETTINGS = (
    PlantedBreak(
        "a key that nobody knows is passed over",
        "app/settings/problems.py",
        "for name in values if name not in names)",
        "for name in values if not names)",
        _noticed_by(
            "tests/unit/test_settings.py", "test_a_bad_key_of_config_yaml_is_named_with_what_to_write"
        ),
    ),
    PlantedBreak(
        "the .env file goes before the environment",
        "app/settings/variables.py",
        "for name, value in [*in_env_file.items(), *environ.items()] if value}",
        "for name, value in [*environ.items(), *in_env_file.items()] if value}",
        _noticed_by(
            "tests/unit/test_settings.py", "test_the_environment_wins_over_the_env_file_unless_it_is_empty"
        ),
    ),
    PlantedBreak(
        "an empty variable counts",
        "app/settings/variables.py",
        "for name, value in [*in_env_file.items(), *environ.items()] if value}",
        "for name, value in [*in_env_file.items(), *environ.items()]}",
        _noticed_by(
            "tests/unit/test_settings.py", "test_the_environment_wins_over_the_env_file_unless_it_is_empty"
        ),
    ),
    PlantedBreak(
        "pausing the primary hub under its other form does nothing",
        "app/settings/hubs.py",
        "if earlier_keys == _PRIMARY and earlier.enabled and not hub.enabled:",
        "if earlier_keys != _PRIMARY and earlier.enabled and not hub.enabled:",
        _noticed_by("tests/unit/test_settings.py", "test_listing_the_primary_as_not_enabled_pauses_it"),
    ),
    PlantedBreak(
        "config show tells the values of secrets that are covered",
        "app/settings/effective.py",
        "tuple(Covered(place, None if secret else found) for place, found in covers)",
        "tuple(Covered(place, found) for place, found in covers)",
        _noticed_by(
            "tests/unit/test_config_show.py",
            "test_of_secrets_only_that_they_are_set_and_where_they_lead_is_shown",
        ),
    ),
    PlantedBreak(
        "who leaves init has values of the file replaced",
        "app/cli/init.py",
        "values, replaced = answers.new(), answers.replaced()",
        "values, replaced = {**answers.new(), **{n: v for n, (_, v) in answers.replaced().items()}}, ()",
        _noticed_by(
            "tests/flows/test_init.py",
            "test_who_leaves_finds_the_answers_again_and_a_value_is_replaced_only_where_that_is_agreed_to",
        ),
    ),
)
_IN_REDACTION = (
    PlantedBreak(
        "a secret is looked for as it was given, not in what a text says",
        "app/base/redaction.py",
        "    for said in readings(text):\n",
        "    for said in ():\n",
        _noticed_by(
            "tests/unit/test_redaction.py",
            "test_a_registered_secret_is_masked_in_every_form",
        ),
    ),
    PlantedBreak(
        "a secret is looked for in the last reading of a text alone",
        "app/base/redaction.py",
        "    for said in readings(text):\n",
        "    for said in [*readings(text)][-1:]:\n",
        _noticed_by(
            "tests/unit/test_redaction.py",
            "test_a_percent_sign_before_a_secret_in_percent_hides_nothing_of_it",
        ),
    ),
    PlantedBreak(
        "a secret that is a word is masked within other words",
        "app/base/redaction.py",
        "if not (text[start - 1 : start] in _WITHIN_WORDS or text[end : end + 1] in _WITHIN_WORDS):",
        "if not (text[start - 1 : start] in _WITHIN_WORDS and start > end):",
        _noticed_by(
            "tests/unit/test_redaction.py",
            "test_a_secret_that_is_a_word_is_masked_where_it_stands_alone_and_in_no_name",
        ),
    ),
    PlantedBreak(
        "the tokens of months are all kept as secrets",
        "app/base/redaction.py",
        "            if place is not None and len(of_place) > _KEPT_OF_A_PLACE:\n",
        "            if place is None and len(of_place) > _KEPT_OF_A_PLACE:\n",
        _noticed_by(
            "tests/unit/test_redaction.py",
            "test_of_a_place_the_newest_few_secrets_are_known",
        ),
    ),
    PlantedBreak(
        "what stands under the name of a secret is shown",
        "app/base/redaction.py",
        "return MASK if text and masked == text and names_a_secret(name) else masked",
        "return masked",
        _noticed_by(
            "tests/unit/test_redaction.py",
            "test_what_stands_under_a_telling_name_is_masked_whole",
        ),
    ),
)
_IN_WHAT_IS_KEPT = (
    PlantedBreak(
        "a lease counts from the answer of its renewal",
        "app/state/table_lease.py",
        "        self._began = began\n        return True\n",
        "        self._began = self._clocks.read()\n        return True\n",
        _noticed_by(
            "tests/unit/test_table_lease.py",
            "test_a_renewed_lease_counts_from_when_the_renewal_began_not_from_its_answer",
        ),
    ),
    PlantedBreak(
        "a lease does not end while its host is suspended",
        "app/state/table_lease.py",
        "return max(timedelta(seconds=self.monotonic() - then.monotonic), self.now() - then.wall)",
        "return timedelta(seconds=self.monotonic() - then.monotonic)",
        _noticed_by("tests/unit/test_table_lease.py", "test_whichever_clock_says_more_counts"),
    ),
    PlantedBreak(
        "a lease that is another's goes on",
        "app/state/table_lease.py",
        'self._lost = found.get("nonce") != self._row["nonce"]',
        'self._lost = found.get("nonce") is None',
        _noticed_by(
            "tests/unit/test_table_lease.py",
            "test_a_renewal_that_finds_another_s_row_has_lost_the_lease_at_once",
        ),
    ),
    PlantedBreak(
        "a row that another run changed is written over",
        "app/state/table_calls.py",
        "    if etag is None:\n"
        '        return str(table.create_entity(row, **options)["etag"])\n'
        "    condition = MatchConditions.IfNotModified\n",
        "    if etag is None:\n"
        '        return str(table.create_entity(row, **options)["etag"])\n'
        "    condition = MatchConditions.Unconditionally\n",
        _noticed_by(
            "tests/contracts/test_azure_table.py",
            "test_a_location_that_another_run_changed_conflicts_and_the_others_are_saved",
        ),
    ),
    PlantedBreak(
        "a reset forgets where a hub began",
        "app/state/edits.py",
        "            checkpoints={hub: checkpoint for hub, checkpoint in new.items() if "
        "checkpoint is not None},\n"
        "            gaps",
        "            checkpoints={hub: checkpoint for hub, checkpoint in new.items() if "
        "checkpoint is not None},\n"
        "            hubs={hub: replace(record, start=None) for hub, record in "
        "location.hubs.items()},\n"
        "            gaps",
        _noticed_by(
            "tests/unit/test_state_tools.py", "test_a_reset_knows_where_a_hub_began_whatever_it_begins_at_now"
        ),
    ),
    PlantedBreak(
        "what is skipped is no gap",
        "app/state/edits.py",
        "            gaps=(*location.gaps, *_left_behind(left, to, now, location.gaps)),\n",
        "            gaps=(*location.gaps, *_left_behind({}, to, now, location.gaps), *[gap "
        "for gap in () if left]),\n",
        _noticed_by(
            "tests/unit/test_state_tools.py",
            "test_a_skip_moves_positions_and_known_from_and_keeps_a_gap_for_hubs_that_were_alike",
        ),
    ),
    PlantedBreak(
        "a state is renamed before it is on disk",
        "app/base/files.py",
        "(descriptor, part)\n                self._system.flush(descriptor)\n",
        "(descriptor, part)\n",
        _noticed_by(
            "tests/unit/test_files.py",
            "test_a_file_is_written_flushed_and_renamed_and_then_its_folder_is_flushed",
        ),
    ),
    PlantedBreak(
        "a renamed state's folder is not flushed",
        "app/base/files.py",
        "            self._system.rename(beside, path)\n        self._system.flush_folder(path.parent)\n",
        "            self._system.rename(beside, path)\n",
        _noticed_by(
            "tests/unit/test_files.py",
            "test_a_file_is_written_flushed_and_renamed_and_then_its_folder_is_flushed",
        ),
    ),
    PlantedBreak(
        "a link that others can put there is followed",
        "app/base/files.py",
        "found.st_uid in (0, self._system.account()) and not found.st_mode & _WRITABLE_BY_OTHERS",
        "found.st_uid in (0, self._system.account())",
        _noticed_by(
            "tests/unit/test_files.py", "test_a_link_in_a_folder_that_others_can_write_is_not_followed"
        ),
    ),
    PlantedBreak(
        "a lock whose file was removed is held",
        "app/state/json_file.py",
        "self._lock.is_locked and self._identity is not None and _identity(self._path) == self._identity",
        "self._lock.is_locked",
        _noticed_by(
            "tests/contracts/test_json_file.py", "test_a_lock_whose_file_was_removed_is_held_no_more"
        ),
    ),
    PlantedBreak(
        "a state that is gone beside its backup begins anew",
        "app/state/json_file.py",
        "                if _backup_of(path).exists():\n",
        "                if _backup_of(path).is_dir():\n",
        _noticed_by(
            "tests/contracts/test_json_file.py",
            "test_a_missing_file_beside_its_backup_is_refused_with_advice",
        ),
    ),
)
_IN_WHAT_IS_SHOWN = (
    PlantedBreak(
        "advice on the page is not escaped",
        "app/page/render.py",
        "code.format(part) if at % 2 else escape(part)",
        "code.format(part) if at % 2 else Markup(part)",
        _noticed_by(
            "tests/unit/test_page.py", "test_what_comes_from_outside_is_text_wherever_a_sentence_has_it"
        ),
    ),
    PlantedBreak(
        "what a server said is not escaped on the page",
        "app/page/templates/parts.html",
        "<code>{{ text }}</code>",
        "<code>{{ text|safe }}</code>",
        _noticed_by(
            "tests/unit/test_page.py", "test_what_comes_from_outside_is_text_wherever_a_sentence_has_it"
        ),
    ),
    PlantedBreak(
        "an hour that was not compared looks as one in which all is well",
        "app/page/coverage.py",
        '    elif reach.unread:\n        state = "unread"\n',
        "",
        _noticed_by(
            "tests/unit/test_page.py", "test_an_hour_of_which_a_hub_could_not_be_read_is_not_compared"
        ),
    ),
    PlantedBreak(
        "a page without names has them in the errors of servers",
        "app/page/templates/parts.html",
        "{% if told.technical and not view.nameless %}",
        "{% if told.technical %}",
        _noticed_by(
            "tests/unit/test_page_without_names.py", "test_no_text_of_a_server_is_on_a_page_without_names"
        ),
    ),
    PlantedBreak(
        "of too many locations the page shows the first",
        "app/page/coverage.py",
        "rows.sort(key=lambda row: (-_WORST.index(row.state), row.location))",
        "rows.sort(key=lambda row: row.location)",
        _noticed_by("tests/unit/test_page.py", "test_of_too_many_locations_the_worst_are_shown"),
    ),
    PlantedBreak(
        "a paused hub counts as one that is behind",
        "app/telemetry/run_telemetry.py",
        "        if hub.paused:\n            continue\n",
        "",
        _noticed_by("tests/unit/test_telemetry.py", "test_a_run_is_measured_by_feed_and_by_hub"),
    ),
    PlantedBreak(
        "an exporter that stalls holds up the end of a command",
        "app/base/side_call.py",
        "name=name, daemon=True",
        "name=name, daemon=False",
        _noticed_by(
            "tests/unit/test_telemetry.py",
            "test_an_exporter_that_does_not_come_back_does_not_hold_up_the_end_of_a_command",
        ),
    ),
    PlantedBreak(
        "telemetry that fails fails its run",
        "app/base/side_call.py",
        "        except Exception as error:  # noqa: BLE001",
        "        except OSError as error:",
        _noticed_by(
            "tests/unit/test_telemetry.py", "test_a_connection_string_the_exporter_refuses_is_one_line"
        ),
    ),
    PlantedBreak(
        "packages for another Python are not told of",
        "app/base/interpreter.py",
        "        if made_for is None or runs == made_for:",
        "        if True:",
        _noticed_by(
            "tests/unit/test_interpreter.py",
            "test_packages_for_another_python_are_named_with_both_and_what_to_do",
        ),
    ),
    PlantedBreak(
        "a package for Azure takes what is linked into the tree",
        "tools/package.py",
        " and not path.is_symlink()}",
        "}",
        _noticed_by("tests/unit/test_deployed_files.py", "test_a_package_holds_what_runs_and_nothing_else"),
    ),
    PlantedBreak(
        "a lock may lack the hash of a package",
        "tools/locks.py",
        '    told += [f"{package.name} has no hash" for package in locked if not package.hashes]\n',
        "",
        _noticed_by("tests/unit/test_locks.py", "test_what_a_lock_does_not_answer_to_is_named"),
    ),
    PlantedBreak(
        "a run without the exporter of telemetry says nothing of it",
        "app/wiring.py",
        "        return replace(wiring, export=telling_instead(lacks))",
        "        return wiring",
        _noticed_by(
            "tests/flows/test_telemetry_flow.py",
            "test_without_the_exporter_a_run_delivers_and_says_once_what_to_install",
        ),
    ),
    PlantedBreak(
        "a timer fails where another run works on its feed",
        "app/timer.py",
        '    except LockHeld as error:\n        log.warning("run.skipped", reason=str(error))\n',
        "    except LockHeld:\n        raise\n",
        _noticed_by(
            "tests/unit/test_timer.py", "test_a_run_that_has_nothing_to_do_is_no_failure_of_its_invocation"
        ),
    ),
    PlantedBreak(
        "a timer whose settings are refused ends well",
        "app/timer.py",
        '        log.error("settings.refused", problems=list(error.problems))\n        raise\n',
        '        log.error("settings.refused", problems=list(error.problems))\n'
        "        raise SystemExit from error\n",
        _noticed_by(
            "tests/unit/test_timer.py", "test_settings_that_cannot_be_used_are_named_before_anything_is_done"
        ),
    ),
    PlantedBreak(
        "throughput units are counted by bytes alone",
        "app/health/sizing.py",
        "max(self.events_a_second / UNIT_EVENTS, self.bytes_a_second / UNIT_BYTES)",
        "self.bytes_a_second / UNIT_BYTES",
        _noticed_by(
            "tests/unit/test_sizing.py", "test_a_throughput_unit_is_a_thousand_events_or_a_megabyte_a_second"
        ),
    ),
    PlantedBreak(
        "runs that catch up measure what a steady one takes",
        "app/health/sizing.py",
        "if run.ok and not run.left and run.locations > 0",
        "if run.ok and run.locations > 0",
        _noticed_by("tests/unit/test_sizing.py", "test_runs_that_catch_up_or_fail_measure_nothing"),
    ),
    PlantedBreak(
        "the list of locations takes no memory",
        "app/health/sizing.py",
        "measured.memory_mib_a_run + of_list +",
        "measured.memory_mib_a_run +",
        _noticed_by(
            "tests/unit/test_sizing.py", "test_each_figure_that_was_measured_counts_in_what_is_needed"
        ),
    ),
    PlantedBreak(
        "files are never too small",
        "app/health/sizing.py",
        "if load.in_files and (locations > FILES_SERVE or need.shards > 1):",
        "if load.in_files and need.shards > 1:",
        _noticed_by("tests/unit/test_sizing.py", "test_which_switch_to_turn_at_which_size"),
    ),
)
_IN_COMMANDS = (
    PlantedBreak(
        "a word of a key is cut where a table is narrow",
        "app/cli/tables.py",
        "        return max(min(cell.cell_len, _LEAST_OF_A_KEY), word)\n",
        "        return min(cell.cell_len, _LEAST_OF_A_KEY)\n",
        _noticed_by("tests/unit/test_tables.py", "test_no_word_of_a_key_is_cut_at_any_width"),
    ),
    PlantedBreak(
        "a row that does not fit stays a line",
        "app/cli/tables.py",
        "        if _whole(widths) <= options.max_width:\n            yield _as_table",
        "        if _whole(widths):\n            yield _as_table",
        _noticed_by("tests/unit/test_tables.py", "test_then_a_row_is_a_block_the_keys_first"),
    ),
    PlantedBreak(
        "a question does not say at which hubs",
        "app/cli/state_effects.py",
        "{what} {_hubs_of(some, name_hubs)}",
        "{what} hubs",
        _noticed_by("tests/unit/test_state_tools.py", "test_a_question_says_what_is_concerned"),
    ),
    PlantedBreak(
        "what is in quarantine already is set aside a second time",
        "app/run/handover.py",
        "if new := tuple(hub for hub in item.hubs if hub not in before):",
        "if new := item.hubs:",
        _noticed_by(
            "tests/flows/test_backfill.py",
            "test_what_is_in_quarantine_already_is_not_set_aside_a_second_time",
        ),
    ),
    PlantedBreak(
        "a renamed location goes on from a position that empty answers moved",
        "app/state/edits.py",
        "stops = {hub: _stopped(known) for",
        "stops = {hub: known.delivered_until for",
        _noticed_by(
            "tests/flows/test_proof_flow.py",
            "test_a_move_loses_nothing_where_the_earlier_name_went_on_without_readings",
        ),
    ),
    PlantedBreak(
        "a move sets back what has gone on and dropped its ids",
        "app/state/edits.py",
        "if min(began, known.known_from) > stop else None",
        "if known.known_from > stop else None",
        _noticed_by(
            "tests/unit/test_state_tools.py",
            "test_a_move_leaves_what_began_before_the_earlier_name_stopped_and_has_dropped_its_ids_since",
        ),
    ),
    PlantedBreak(
        "a port is advised for a hub where another is read",
        "app/audit/auditor.py",
        "            error = error.where_others_are_reached()\n",
        "            pass\n",
        _noticed_by(
            "tests/flows/test_audit.py",
            "test_no_port_is_advised_for_a_hub_that_does_not_answer_where_another_is_read",
        ),
    ),
    PlantedBreak(
        "a time that came while a feed was run is made up for",
        "app/cli/serve.py",
        "        schedule = run()\n        due = None\n        seen = now()\n",
        "        seen = now()\n        schedule = run()\n        due = None\n",
        _noticed_by("tests/unit/test_serve.py", "test_a_time_that_comes_while_the_feed_runs_is_left_out"),
    ),
    PlantedBreak(
        "a feed that is served is not run at once",
        "app/cli/serve.py",
        "    while not wait(0):\n",
        "    while not wait(_LONGEST_WAIT_S):\n",
        _noticed_by(
            "tests/unit/test_serve.py", "test_a_feed_is_run_at_once_and_then_at_each_time_of_its_schedule"
        ),
    ),
    PlantedBreak(
        "what is served goes by the clock as it was before it was set",
        "app/cli/serve.py",
        "            due = next(times_after(schedule, seen), None)\n",
        "            due = due or next(times_after(schedule, seen), None)\n",
        _noticed_by(
            "tests/unit/test_serve.py",
            "test_where_the_clock_is_set_back_the_next_time_is_by_the_new_clock",
        ),
    ),
    PlantedBreak(
        "a wait of a served feed is as long as it seemed when it began",
        "app/cli/serve.py",
        "if wait(min(max(left, 0), _LONGEST_WAIT_S)):",
        "if wait(max(left, 0)):",
        _noticed_by("tests/unit/test_serve.py", "test_times_that_a_host_slept_over_make_one_run"),
    ),
    PlantedBreak(
        "a bug in a run ends what is served",
        "app/cli/serve.py",
        "        except Exception:  # noqa: BLE001 - a bug, too, must keep neither",
        "        except KeyError:  # noqa: BLE001 - a bug, too, must keep neither",
        _noticed_by("tests/unit/test_serve.py", "test_a_bug_in_a_run_is_logged_and_the_next_run_comes"),
    ),
    PlantedBreak(
        "what is served keeps the settings that it began with",
        "app/cli/serve.py",
        "            settings = with_rights_told(check_feeds(load_settings()))\n",
        "            settings = self._settings = getattr(self, '_settings', None) or with_rights_told(\n"
        "                check_feeds(load_settings())\n            )\n",
        _noticed_by("tests/flows/test_serve.py", "test_settings_files_are_read_again_for_each_run"),
    ),
    PlantedBreak(
        "a signal stops one feed of several",
        "app/cli/stop.py",
        "        self._budgets[threading.get_ident()] = budget\n",
        "        self._budgets[0] = budget\n",
        _noticed_by("tests/unit/test_serve.py", "test_a_signal_ends_the_newest_run_of_each_thread"),
    ),
    PlantedBreak(
        "what lies in the application's folder goes into the image",
        ".dockerignore",
        "!app/**/*.py\n",
        "!app\n",
        _noticed_by(
            "tests/unit/test_deployed_files.py",
            "test_an_image_is_built_of_what_the_wheel_is_made_of_and_nothing_else",
        ),
    ),
    PlantedBreak(
        "the image runs as root",
        "Dockerfile",
        "USER 65532:65532\n",
        "USER 0:0\n",
        _noticed_by(
            "tests/unit/test_container_files.py",
            "test_the_image_serves_as_an_account_without_rights_and_says_whether_it_is_well",
        ),
    ),
    PlantedBreak(
        "a container is killed before its run has ended",
        "deploy/container/compose.yaml",
        "    stop_grace_period: 45s\n",
        "    stop_grace_period: 10s\n",
        _noticed_by("tests/unit/test_container_files.py", "test_a_run_that_is_stopped_has_the_time_to_end"),
    ),
    PlantedBreak(
        "two pods wait for one volume",
        "deploy/container/kubernetes/cronjob.yaml",
        "  concurrencyPolicy: Forbid\n",
        "  concurrencyPolicy: Allow\n",
        _noticed_by(
            "tests/unit/test_container_files.py",
            "test_the_cron_job_runs_each_feed_by_its_shortest_schedule_one_at_a_time",
        ),
    ),
    PlantedBreak(
        "a lock that is held ends a command with 1",
        "app/cli/session.py",
        "        return Explained(str(error), LOCKED)\n",
        "        return Explained(str(error), SOMETHING_WRONG)\n",
        _noticed_by("tests/unit/test_cli.py", "test_an_error_decides_the_exit_status"),
    ),
    PlantedBreak(
        "an error without a message of ours is shown as it is",
        "app/cli/session.py",
        "    return Explained(redact(text), SOMETHING_WRONG)\n",
        "    return Explained(text, SOMETHING_WRONG)\n",
        _noticed_by("tests/unit/test_cli.py", "test_an_unexpected_error_is_one_redacted_line"),
    ),
    PlantedBreak(
        "a paused hub can be chosen",
        "app/cli/choices.py",
        "        if not hub.enabled:\n            raise",
        "        if not hub.key:\n            raise",
        _noticed_by("tests/unit/test_cli.py", "test_a_paused_hub_is_left_out_and_refused_where_it_is_named"),
    ),
    PlantedBreak(
        "a change of the state needs no yes",
        "app/cli/state_edit.py",
        "act=found.question), yes=yes):",
        "act=found.question), yes=True):",
        _noticed_by(
            "tests/unit/test_state_tools.py", "test_what_is_not_meant_or_not_confirmed_is_refused_with_2"
        ),
    ),
    PlantedBreak(
        "what is behind is told beside what keeps it so",
        "app/health/told.py",
        "for name in each.locations if not fails_at(facts, name, key)}",
        "for name in each.locations}",
        _noticed_by(
            "tests/unit/test_status_screen.py", "test_what_is_behind_for_a_hub_that_fails_is_told_with_it"
        ),
    ),
    PlantedBreak(
        "a screen shows more than there is room for",
        "app/cli/status_screen.py",
        "        if takes <= lines and (block.at",
        "        if takes and (block.at",
        _noticed_by("tests/unit/test_status_screen.py", "test_whatever_is_wrong_a_screen_holds_it"),
    ),
    PlantedBreak(
        "a cause that is not known is told with what a server said",
        "app/base/causes.py",
        'said = re.split(r": |<", said_and_advised(rest)[0], maxsplit=1)[0]',
        "said = said_and_advised(rest)[0]",
        _noticed_by("tests/unit/test_causes.py", "test_an_unknown_error_is_told_by_its_own_beginning"),
    ),
    PlantedBreak(
        "an interrupted run is told as one that is done",
        "app/run/draft.py",
        "interrupted=stopped and (until is None or left_s > 0),",
        "interrupted=False,",
        _noticed_by(
            "tests/unit/test_run_screen.py",
            "test_a_run_is_interrupted_where_it_was_stopped_with_something_left",
        ),
    ),
    PlantedBreak(
        "an export writes over a file that is there",
        "app/base/files.py",
        "            self.write_new(target, content)\n",
        "            self.write(target, content)\n",
        _noticed_by("tests/unit/test_state_tools.py", "test_an_export_never_overwrites_a_file"),
    ),
)
_MORE_OF_THE_CORE = (
    PlantedBreak(
        "a record that is null is taken for a record",
        "app/feeds/feed.py",
        "[record] if record else",
        '[record] if "record" in fields else',
        _noticed_by("tests/unit/test_feeds.py", "test_a_record_that_names_nothing_is_none"),
    ),
    PlantedBreak(
        "a part is measured without its number",
        "app/feeds/hourly_snapshot.py",
        "if fits(_part(event, readings, _ANY_PART, _ANY_PART)):",
        "if fits(_part(event, readings, 1, 1)):",
        _noticed_by(
            "tests/unit/test_slicing_properties.py",
            "test_a_snapshot_is_split_into_parts_that_hold_each_reading_once",
        ),
    ),
    PlantedBreak(
        "a count that full pages reach counts a platform",
        "app/microshare/paging.py",
        "(first.total_count or 0) > first.total_pages * (first.per_page or PER_PAGE)",
        "(first.total_count or 0) >= first.total_pages * (first.per_page or PER_PAGE)",
        _noticed_by("tests/unit/test_microshare_client.py", "test_pages_that_do_not_add_up_are_read_again"),
    ),
)

_IN_THE_FASTER_WAYS = (
    PlantedBreak(
        "any version of the SDK is taken for the one that is known",
        "app/eventhub/encoding.py",
        "return sdk_version() == COMPARED_WITH",
        "return bool(sdk_version())",
        _noticed_by(
            "tests/unit/test_encoding.py", "test_another_version_of_the_sdk_encodes_its_events_itself"
        ),
    ),
    PlantedBreak(
        "true and one are encoded alike",
        "app/eventhub/encoding.py",
        "tuple(map(type, properties.values()))",
        "()",
        _noticed_by("tests/unit/test_encoding.py", "test_an_event_has_the_bytes_that_the_sdk_gives_it"),
    ),
    PlantedBreak(
        "a batch is measured without what holds its large events",
        "app/eventhub/encoding.py",
        "_OVERHEAD_BYTES, _LARGE_OVERHEAD_BYTES = 5, 8",
        "_OVERHEAD_BYTES, _LARGE_OVERHEAD_BYTES = 5, 5",
        _noticed_by("tests/unit/test_encoding.py", "test_every_way_to_write_a_length_is_the_sdks"),
    ),
    PlantedBreak(
        "names are not counted where JSON is read fast",
        "app/base/fast_json.py",
        "if _names_in(found, deepest) != body.count(b'\":'):",
        "if _names_in(found, deepest) is None:",
        _noticed_by("tests/unit/test_exact_json.py", "test_a_name_twice_is_found_wherever_it_hides"),
    ),
    PlantedBreak(
        "names apart from their colons are not counted",
        "app/base/fast_json.py",
        "if _may_be_apart(body) and _APART.search(body):",
        "if False:",
        _noticed_by("tests/unit/test_exact_json.py", "test_a_name_twice_is_found_wherever_it_hides"),
    ),
    PlantedBreak(
        "a key is written fast though it is not ASCII",
        "app/base/exact_json.py",
        'if plain.isascii() and b"\\x7f" not in plain:',
        "if plain:",
        _noticed_by(
            "tests/unit/test_exact_json.py", "test_what_is_written_is_what_the_standard_library_writes"
        ),
    ),
)

_IN_FORMS_OF_BODIES = (
    PlantedBreak(
        "a property of the settings replaces one of ours",
        "app/base/wire_forms.py",
        "{**dict(form.properties), **ours}",
        "{**ours, **dict(form.properties)}",
        _noticed_by("tests/unit/test_wire_forms.py", "test_id_and_our_properties_do_not_depend_on_the_form"),
    ),
    PlantedBreak(
        "forms of equal values share a batch",
        "app/base/wire_forms.py",
        "tuple(type(value) for _, value in self.properties)",
        "()",
        _noticed_by(
            "tests/unit/test_wire_forms.py",
            "test_values_that_are_equal_and_encoded_otherwise_are_another_form",
        ),
    ),
    PlantedBreak(
        "the ids of a snapshot are in the order of time",
        "app/base/wire_forms.py",
        "for reading in _as_in_the_body(event.readings)",
        "for reading in event.readings",
        _noticed_by(
            "tests/unit/test_wire_forms.py",
            "test_with_ids_a_snapshot_has_the_ids_of_its_readings_in_the_order_of_its_lines",
        ),
    ),
    PlantedBreak(
        "what a source calls by our key is lost",
        "app/base/wire_forms.py",
        "ours[_REPLACED] = said.pop(_FORWARDER)",
        "said.pop(_FORWARDER)",
        _noticed_by(
            "tests/unit/test_wire_forms.py", "test_what_a_source_calls_by_our_key_is_kept_beside_ours"
        ),
    ),
    PlantedBreak(
        "what looks like a CloudEvent is read as one",
        "app/base/wire_forms.py",
        "    if not _is_cloudevent(content_type):\n        return body\n",
        "    if not body:\n        return body\n",
        _noticed_by("tests/unit/test_wire_forms.py", "test_what_an_event_says_it_is_decides_how_it_is_read"),
    ),
    PlantedBreak(
        "hubs are read as if all bodies were plain",
        "app/run/hub_events.py",
        "feed.readings_in(location, body_of(event))",
        "feed.readings_in(location, event.body)",
        _noticed_by(
            "tests/flows/test_bodies.py", "test_a_hub_of_any_form_gets_the_same_events_and_is_found_well"
        ),
    ),
    PlantedBreak(
        "all hubs get the form of the first",
        "app/run/handover.py",
        "{hub.key: hub.form for hub in wiring.settings.hubs}",
        "{hub.key: wiring.settings.hubs[0].form for hub in wiring.settings.hubs}",
    ),
    PlantedBreak(
        "each form is split by itself",
        "app/eventhub/batches.py",
        "        return all(packer.fits(event, message_of(event, form)) for form, packer in each)\n",
        "        return any(packer.fits(event, message_of(event, form)) for form, packer in each)\n",
        _noticed_by(
            "tests/unit/test_hub_batches.py", "test_all_forms_have_the_same_parts_those_of_the_largest"
        ),
    ),
    PlantedBreak(
        "a reading that one form has no room for is kept from all hubs",
        "app/run/delivery.py",
        "    if len(by_both) == 1 or not any(packed.oversize for packed in alike.values()):\n",
        "    if len(set(limits.values())) == 1 or not any(packed.oversize for packed in alike.values()):\n",
        _noticed_by(
            "tests/unit/test_delivery.py",
            "test_a_reading_that_is_too_large_in_one_form_is_set_aside_for_the_hubs_of_that_form_alone",
        ),
    ),
    PlantedBreak(
        "a repair sends plain bodies to every hub",
        "app/audit/repair.py",
        ", forms=forms",
        "",
        _noticed_by(
            "tests/flows/test_bodies.py", "test_what_a_hub_lost_is_sent_again_in_the_form_it_has_now"
        ),
    ),
    PlantedBreak(
        "tail ends with 0 whatever does not fit",
        "app/cli/tail.py",
        'SOMETHING_WRONG if verdicts.count["wrong"] else ALL_WELL',
        "ALL_WELL",
        _noticed_by(
            "tests/flows/test_bodies.py",
            "test_tail_validates_events_of_any_form_and_says_which_one_does_not_fit",
        ),
    ),
    PlantedBreak(
        "events of other senders are held to our schemas",
        "app/cli/event_verdicts.py",
        " if is_ours(event) else None",
        "",
        _noticed_by("tests/flows/test_foreign_events.py", "test_events_of_others_are_not_validated"),
    ),
    PlantedBreak(
        "a schema knows of ISO times only",
        "app/feeds/event_schema.py",
        '"anyOf": [text, number, extended, date],',
        '"anyOf": [text],',
        _noticed_by("tests/unit/test_event_schemas.py", "test_a_reading_fits_however_its_time_is_written"),
    ),
    PlantedBreak(
        "the value that does not fit is told unmasked",
        "app/feeds/validation.py",
        "    (masked,) = redact_json({name: value}).values()\n",
        "    (masked,) = {name: value}.values()\n",
        _noticed_by(
            "tests/unit/test_event_schemas.py",
            "test_nothing_secret_and_nothing_long_is_told_of_what_does_not_fit",
        ),
    ),
    PlantedBreak(
        "an event goes without the tags of its reading",
        "app/feeds/flat.py",
        'body["recType"], body[_TAGS] = self.rec_type, reading.tags',
        'body["recType"] = self.rec_type',
        _noticed_by("tests/contracts/test_feeds.py", "test_events_fit_their_schema_in_each_form"),
    ),
    PlantedBreak(
        "config.yaml wins over the entry of a hub",
        "app/settings/hubs.py",
        'own.body or by_name.body or "plain"',
        'by_name.body or own.body or "plain"',
        _noticed_by("tests/unit/test_settings.py", "test_what_the_entry_of_a_hub_says_of_its_form_wins"),
    ),
)

_IN_SHARDS = (
    PlantedBreak(
        "a shard is found by a hash of this process",
        "app/base/shards.py",
        'int.from_bytes(digest[:8], "big") % of',
        "hash(digest) % of",
        _noticed_by("tests/unit/test_shards.py", "test_a_location_is_in_the_same_shard_in_every_version"),
    ),
    PlantedBreak(
        "a shard asks for all locations",
        "app/run/locations.py",
        "names = {name for name in of_all if shard.holds(name)}",
        "names = set(of_all)",
        _noticed_by(
            "tests/unit/test_locations.py",
            "test_each_location_is_asked_for_and_listed_by_the_shard_that_holds_it",
        ),
    ),
    PlantedBreak(
        "a shard notes when the others' locations were listed",
        "app/run/locations.py",
        "if place.name not in self.refused and self.shard.holds(place.name):",
        "if place.name not in self.refused:",
        _noticed_by(
            "tests/unit/test_locations.py",
            "test_each_location_is_asked_for_and_listed_by_the_shard_that_holds_it",
        ),
    ),
    PlantedBreak(
        "each shard tells what is new",
        "app/run/locations.py",
        "tuple(each for each in drift if each.location is not None and shard.holds(each.location)),",
        "tuple(drift),",
        _noticed_by(
            "tests/unit/test_locations.py",
            "test_a_shard_goes_by_the_newest_list_of_any_and_tells_what_is_new_to_itself",
        ),
    ),
    PlantedBreak(
        "a shard goes by its own list alone",
        "app/run/locations.py",
        "lists = [found for found in (state.discovery, state.latest_discovery) if found is not None]",
        "lists = [found for found in (state.discovery,) if found is not None]",
        _noticed_by(
            "tests/unit/test_locations.py",
            "test_a_shard_goes_by_the_newest_list_of_any_and_tells_what_is_new_to_itself",
        ),
    ),
    PlantedBreak(
        "a run looks at its own lease only",
        "app/state/table_lease.py",
        "if other is not None and other.of == shard.of:",
        "if other is not None:",
        _noticed_by(
            "tests/contracts/test_shards.py", "test_runs_that_divide_a_feed_otherwise_exclude_each_other"
        ),
    ),
    PlantedBreak(
        "a run looks at other leases before it takes its own",
        "app/state/table_lease.py",
        "        lease = _taken(tables, name, owner, clocks, shard)\n"
        "        try:\n"
        "            _exclude_other_divisions(tables, name, shard)\n",
        "        _exclude_other_divisions(tables, name, shard)\n"
        "        lease = _taken(tables, name, owner, clocks, shard)\n"
        "        try:\n"
        "            pass\n",
        _noticed_by(
            "tests/contracts/test_shards.py",
            "test_of_runs_that_divide_a_feed_otherwise_and_begin_together_not_both_go_on",
        ),
    ),
    PlantedBreak(
        "a lease that ran out can be renewed beside another number of shards",
        "app/state/table_lease.py",
        "            delete_row(tables.client(name), row, etag_of(found))\n        except",
        "            pass\n        except",
        _noticed_by(
            "tests/contracts/test_shards.py",
            "test_who_slept_through_the_end_of_a_lease_cannot_renew_it_beside_another_division",
        ),
    ),
    PlantedBreak(
        "a lease that is renewed while it is judged counts as over",
        "app/state/table_lease.py",
        "if status_of(error) != _GONE:",
        "if status_of(error) is None:",
        _noticed_by(
            "tests/contracts/test_shards.py", "test_a_lease_that_is_renewed_while_it_is_judged_lives"
        ),
    ),
    PlantedBreak(
        "a run that gives way keeps its lease",
        "app/state/table_lease.py",
        "            lease.release()\n            raise\n",
        "            raise\n",
        _noticed_by("tests/contracts/test_shards.py", "test_a_lock_that_was_refused_is_given_back"),
    ),
    PlantedBreak(
        "all shards have one lock",
        "app/state/table_lease.py",
        '"RowKey": shard_key(shard, LOCK)}',
        '"RowKey": shard_key(WHOLE, LOCK)}',
        _noticed_by(
            "tests/contracts/test_shards.py", "test_shards_of_one_number_run_beside_one_another_each_once"
        ),
    ),
    PlantedBreak(
        "a shard writes the whole feed's record",
        "app/state/azure_table.py",
        "row = table_rows.feed_row(self._lists.written(name, document, found), shard)",
        "row = table_rows.feed_row(self._lists.written(name, document, found))",
        _noticed_by(
            "tests/contracts/test_shards.py",
            "test_a_shard_has_a_lock_and_a_record_of_its_own_and_locations_are_as_they_were",
        ),
    ),
    PlantedBreak(
        "a list of locations is in the record, however long",
        "app/state/place_lists.py",
        "if len(content) <= _IN_THE_RECORD:",
        "if len(content) <= 1_000_000_000:",
        _noticed_by(
            "tests/contracts/test_place_lists.py",
            "test_the_list_of_fifty_thousand_locations_is_kept_and_read",
        ),
    ),
    PlantedBreak(
        "a list of locations of which a part is missing is taken for whole",
        "app/state/place_lists.py",
        "if _key_of(content) == listed.key:",
        "if content:",
        _noticed_by(
            "tests/contracts/test_place_lists.py", "test_a_list_that_is_not_whole_counts_as_not_known"
        ),
    ),
    PlantedBreak(
        "a list of locations goes as soon as no record names it",
        "app/state/place_lists.py",
        "if not is_named and now - _written_at(row) > _ON_ITS_WAY:",
        "if not is_named:",
        _noticed_by(
            "tests/contracts/test_place_lists.py",
            "test_lists_that_no_record_names_go_with_the_next_one_after_an_hour",
        ),
    ),
    PlantedBreak(
        "a list of locations goes though another shard's record names it",
        "app/state/place_lists.py",
        "if not is_named and now - _written_at(row) > _ON_ITS_WAY:",
        "if now - _written_at(row) > _ON_ITS_WAY:",
        _noticed_by(
            "tests/contracts/test_place_lists.py",
            "test_lists_that_no_record_names_go_with_the_next_one_after_an_hour",
        ),
    ),
    PlantedBreak(
        "an earlier version's list counts for less than rows from before it",
        "app/state/place_lists.py",
        'if named is None or document.get("discovery") is not None:',
        "if named is None:",
        _noticed_by(
            "tests/contracts/test_place_lists.py", "test_a_list_that_an_earlier_version_wrote_since_counts"
        ),
    ),
    PlantedBreak(
        "a shard loads all locations",
        "app/state/azure_table.py",
        "                    if shard.holds(location):\n",
        "                    if location:\n",
        _noticed_by(
            "tests/contracts/test_shards.py",
            "test_a_shard_loads_the_locations_that_it_holds_whatever_their_names",
        ),
    ),
    PlantedBreak(
        "who holds no lock removes records",
        "app/state/azure_table.py",
        "if lease is None or not lease.held():",
        "if lease is not None and not lease.held():",
        _noticed_by("tests/contracts/test_shards.py", "test_what_is_saved_without_a_lock_removes_no_record"),
    ),
    PlantedBreak(
        "records go with the first new shard",
        "app/state/shard_records.py",
        "if len(current) < shard.of:",
        "if not current:",
        _noticed_by(
            "tests/unit/test_shard_records.py",
            "test_records_of_another_number_are_read_until_each_new_shard_has_one",
        ),
    ),
    PlantedBreak(
        "the larger number of shards counts",
        "app/state/shard_records.py",
        "(_began(records[shard].last_run), shard.of)",
        "(shard.of, _began(records[shard].last_run))",
        _noticed_by(
            "tests/unit/test_shard_records.py", "test_the_number_of_shards_whose_newest_run_is_newest_counts"
        ),
    ),
    PlantedBreak(
        "a feed is well where one of its shards is",
        "app/state/shard_records.py",
        '"ok": not failed,',
        '"ok": len(failed) < len(runs),',
        _noticed_by("tests/unit/test_shard_records.py", "test_a_feed_is_well_only_if_each_shard_is"),
    ),
    PlantedBreak(
        "a takeover by one shard is one by all",
        "app/state/shard_records.py",
        "return whole.takeover if whole is not None else replace(found[0], at=None)",
        "return found[0]",
        _noticed_by(
            "tests/unit/test_shard_records.py", "test_a_takeover_is_done_when_each_shard_has_done_it"
        ),
    ),
    PlantedBreak(
        "a new shard knows nothing of what was told",
        "app/state/shard_records.py",
        "own = records.get(shard, feed)",
        "own = records.get(shard, FeedState())",
        _noticed_by(
            "tests/unit/test_shard_records.py",
            "test_a_new_shard_knows_what_was_told_of_its_locations_and_no_others",
        ),
    ),
    PlantedBreak(
        "a location of a shard that does not run is gone",
        "app/state/azure_table.py",
        "replace(feed, locations=as_listed(feed))",
        "feed",
        _noticed_by(
            "tests/contracts/test_shards.py", "test_a_location_of_a_shard_that_does_not_run_is_not_gone"
        ),
    ),
    PlantedBreak(
        "files are shared out",
        "app/cli/run.py",
        'if shard is not None and settings.state.store != "table":',
        'if shard is None and settings.state.store == "none":',
        _noticed_by(
            "tests/flows/test_shards.py", "test_a_shard_with_files_is_refused_before_anything_is_asked"
        ),
    ),
)

_IN_ONE_FEED = (
    PlantedBreak(
        "a feed has stopped where one of its shards has",
        "app/health/facts.py",
        "return max(began, kept.last.started)",
        "return began",
        _noticed_by("tests/unit/test_status.py", "test_a_feed_has_not_stopped_where_one_of_its_shards_has"),
    ),
    PlantedBreak(
        "what is measured of a shard is taken for the feed's",
        "app/telemetry/run_telemetry.py",
        'of_feed["shard"] = str(report.shard)',
        "pass",
        _noticed_by("tests/unit/test_telemetry.py", "test_what_is_measured_of_a_shard_says_of_which"),
    ),
    PlantedBreak(
        "a shard that fails is not told where another one succeeds",
        "deploy/azure/queries/failing.kql",
        "by feed = tostring(line.feed), shards, shard\n",
        "by feed = tostring(line.feed), shards\n",
        _noticed_by(
            "tests/unit/test_azure_queries.py",
            "test_a_query_that_takes_the_last_run_for_the_feed_s_knows_of_shards",
        ),
    ),
    PlantedBreak(
        "the app in Azure does not wait for its right to send",
        "infra/main.bicep",
        "stateRoles, eventHubRoles, vault",
        "stateRoles, vault",
        _noticed_by(
            "tests/unit/test_bicep.py",
            "test_the_app_waits_for_its_identity_and_roles_its_package_s_container_and_its_ways_out",
        ),
    ),
    PlantedBreak(
        "the state in Azure is in the storage of the host, which is made again with the app",
        "infra/main.bicep",
        "'https://${stateAccount}.table.${storageSuffix}'",
        "'https://${hostAccount}.table.${storageSuffix}'",
        _noticed_by("tests/unit/test_infrastructure.py", "test_the_app_reads_what_it_is_given"),
    ),
    PlantedBreak(
        "the state in Azure is reached by a shared key",
        "infra/modules/state.bicep",
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        _noticed_by("tests/unit/test_infrastructure.py", "test_nothing_is_entered_by_a_shared_key"),
    ),
    PlantedBreak(
        "the app in Azure may read the hubs",
        "infra/modules/event-hub-roles.bicep",
        "var eventHubsDataSender = '2b629674-e913-4c01-ae53-ef4638d8f975'",
        "var eventHubsDataSender = 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'",
        _noticed_by(
            "tests/unit/test_infrastructure.py", "test_the_app_has_the_roles_that_it_needs_and_no_others"
        ),
    ),
    PlantedBreak(
        "lists among the settings go through a module in Azure, which takes them for expressions",
        "infra/main.bicep",
        "    subnetId: privateNetwork ? appSubnet : ''\n",
        "    subnetId: string(given)\n",
        _noticed_by(
            "tests/unit/test_infrastructure.py", "test_settings_reach_the_app_without_a_module_between"
        ),
    ),
    PlantedBreak(
        "a tick has two runs of a shard",
        "app/health/ticks.py",
        "next((parts for parts in alike if shard not in parts), None)",
        "next(iter(alike), None)",
        _noticed_by("tests/unit/test_ticks.py", "test_a_tick_has_one_run_of_each_shard"),
    ),
    PlantedBreak(
        "runs of different numbers of shards are one tick",
        "app/health/ticks.py",
        "    return shard, (shard.of, tick if",
        "    return shard, (tick if",
        _noticed_by(
            "tests/unit/test_ticks.py",
            "test_runs_of_another_number_of_shards_and_of_the_whole_feed_are_other_ticks",
        ),
    ),
    PlantedBreak(
        "the id of a tick counts for nothing",
        "app/health/ticks.py",
        "tick if isinstance(tick, str) else periods.begin_of(began)",
        "periods.begin_of(began)",
        _noticed_by("tests/unit/test_ticks.py", "test_an_id_of_the_tick_goes_before_times"),
    ),
    PlantedBreak(
        "a run that begins a second early is of the tick before",
        "app/health/ticks.py",
        "        at = instant + _EARLY\n",
        "        at = instant\n",
        _noticed_by("tests/unit/test_ticks.py", "test_a_clock_that_is_a_little_ahead_makes_no_other_tick"),
    ),
    PlantedBreak(
        "a report of the whole feed is written anew",
        "app/health/ticks.py",
        "return self.parts[WHOLE] if WHOLE in self.parts else _as_one(self)",
        "return _as_one(self)",
        _noticed_by("tests/unit/test_ticks.py", "test_a_history_without_shards_is_read_as_it_is"),
    ),
    PlantedBreak(
        "a tick with a shard missing is ok",
        "app/health/ticks.py",
        "for part in parts) and not lacks,",
        "for part in parts),",
        _noticed_by("tests/unit/test_ticks.py", "test_a_tick_with_a_shard_missing_is_not_ok_and_says_which"),
    ),
    PlantedBreak(
        "a tick is ok where one of its shards is",
        "app/health/ticks.py",
        '"ok": all(part',
        '"ok": any(part',
        _noticed_by("tests/unit/test_ticks.py", "test_a_tick_is_ok_where_all_its_shards_are"),
    ),
    PlantedBreak(
        "a shard that is under way is missed",
        "app/health/ticks.py",
        "is_over=is_due and 0 < number < last)",
        "is_over=is_due)",
        _noticed_by(
            "tests/unit/test_ticks.py",
            "test_what_may_be_under_way_or_lies_before_what_was_read_is_not_missed",
        ),
    ),
    PlantedBreak(
        "all shards are missed of one that was run by hand",
        "app/health/ticks.py",
        "is_over=is_due and 0 < number < last)",
        "is_over=0 < number < last)",
        _noticed_by("tests/unit/test_ticks.py", "test_nothing_is_missed_of_a_shard_that_was_run_by_hand"),
    ),
    PlantedBreak(
        "a tick takes as long as its shortest run",
        "app/health/ticks.py",
        '"took_s": max(',
        '"took_s": min(',
        _noticed_by("tests/unit/test_ticks.py", "test_numbers_are_added_and_times_are_those_of_the_whole"),
    ),
    PlantedBreak(
        "a tick's readings are those of one shard",
        "app/health/ticks.py",
        "**{name: sum(_numbers(found, name)) for name in _SUMS_OF_HUB},",
        "",
        _noticed_by("tests/unit/test_ticks.py", "test_numbers_are_added_and_times_are_those_of_the_whole"),
    ),
    PlantedBreak(
        "what all shards say is said by each",
        "app/health/ticks.py",
        "_unlike(_members(parts, name)) for",
        "list(_members(parts, name)) for",
        _noticed_by(
            "tests/unit/test_ticks.py", "test_what_parts_noticed_is_joined_and_what_all_say_is_said_once"
        ),
    ),
    PlantedBreak(
        "a tick is forecast though one of its shards makes no progress",
        "app/health/ticks.py",
        "return None if None in told else max(",
        "return max(",
        _noticed_by("tests/unit/test_ticks.py", "test_no_forecast_where_a_shard_made_no_progress"),
    ),
    PlantedBreak(
        "a day of a tick leaves out the shards that say nothing of it",
        "app/health/ticks.py",
        "    if len(told) < len(found):\n",
        "    if not told:\n",
        _noticed_by(
            "tests/unit/test_ticks.py", "test_no_figures_of_a_day_where_a_shard_has_none_or_is_missing"
        ),
    ),
    PlantedBreak(
        "status counts each shard's run",
        "app/health/ticks.py",
        "past_runs(tick.report for tick in ticks(reports, schedule))",
        "past_runs(part for tick in ticks(reports, schedule) for part in tick.parts.values())",
        _noticed_by(
            "tests/unit/test_status.py", "test_runs_of_shards_count_as_one_and_one_that_is_missing_is_told"
        ),
    ),
    PlantedBreak(
        "shards cannot be seen one by one",
        "app/cli/runs.py",
        "one.tick.parts.values() if by_shard else [one.report]",
        "[one.report]",
        _noticed_by("tests/unit/test_runs.py", "test_as_many_ticks_are_shown_as_were_asked_for"),
    ),
    PlantedBreak(
        "the line of a tick hides that a shard is missing",
        "app/cli/runs.py",
        "{lacks}{outcome_in_brief",
        "{outcome_in_brief",
        _noticed_by("tests/unit/test_runs.py", "test_each_shard_can_be_shown_below_them"),
    ),
)

_BY_A_QUEUE = (
    PlantedBreak(
        "a message is run however old it is",
        "app/timer.py",
        "if message.is_over(now, settings.feeds[message.feed].schedule):",
        "if message.is_over(message.tick, settings.feeds[message.feed].schedule):",
        _noticed_by("tests/flows/test_queue.py", "test_a_message_that_came_too_late_ends_in_silence"),
    ),
    PlantedBreak(
        "a message of another number of shards is run",
        "app/timer.py",
        "if message.shard.of != shards:",
        "if message.shard.of < shards:",
        _noticed_by("tests/flows/test_queue.py", "test_a_message_that_came_too_late_ends_in_silence"),
    ),
    PlantedBreak(
        "a shard that fails is poison",
        "app/timer.py",
        "        return  # told by the run itself\n",
        "        raise\n",
        _noticed_by("tests/flows/test_queue.py", "test_a_run_that_fails_is_reported_and_raises_nothing"),
    ),
    PlantedBreak(
        "settings that are refused are poison",
        "app/timer.py",
        '        log.error("settings.refused", problems=list(error.problems))\n    except RunFailed:',
        "        raise\n    except RunFailed:",
        _noticed_by(
            "tests/flows/test_queue.py", "test_settings_that_are_refused_are_reported_and_raise_nothing"
        ),
    ),
    PlantedBreak(
        "a shard that is held is told of by each tick",
        "app/timer.py",
        '        log.debug("shard.skipped", reason=str(error))',
        '        log.warning("shard.skipped", reason=str(error))',
        _noticed_by("tests/flows/test_queue.py", "test_a_shard_that_another_run_works_on_is_left_alone"),
    ),
    PlantedBreak(
        "a message of nobody is run",
        "app/timer.py",
        "if message.feed not in settings.feeds:",
        "if not settings.feeds:",
        _noticed_by(
            "tests/flows/test_queue.py", "test_what_is_no_message_of_a_timer_is_reported_and_nothing_is_run"
        ),
    ),
    PlantedBreak(
        "the longest period of a schedule counts",
        "app/run/shard_message.py",
        "period = min((later - at for at, later in pairwise(times)), default=timedelta.max)",
        "period = max((later - at for at, later in pairwise(times)), default=timedelta.max)",
        _noticed_by(
            "tests/unit/test_shard_message.py",
            "test_a_message_is_over_when_it_is_older_than_the_period_of_its_timer",
        ),
    ),
    PlantedBreak(
        "messages count shards from 0",
        "app/run/shard_message.py",
        '"shard": self.shard.number,',
        '"shard": self.shard.index,',
        _noticed_by(
            "tests/unit/test_shard_message.py",
            "test_a_message_says_which_shard_of_which_feed_and_tick_it_is_about",
        ),
    ),
    PlantedBreak(
        "shards are asked for in their order",
        "app/run/tick.py",
        "return sorted(shards, key=lambda shard: (least.get(shard, _LATEST), shard))",
        "return shards",
        _noticed_by(
            "tests/unit/test_shard_message.py",
            "test_each_shard_is_asked_for_once_and_what_is_longest_behind_first",
        ),
    ),
    PlantedBreak(
        "a tick without discovery has no messages",
        "app/run/tick.py",
        "        problems.append(str(error))\n",
        "        raise\n",
        _noticed_by(
            "tests/flows/test_queue.py", "test_a_source_that_fails_is_told_and_keeps_no_shard_from_its_run"
        ),
    ),
    PlantedBreak(
        "a tick goes by an old list",
        "app/run/tick.py",
        "horizon, kept=timedelta(0))",
        "horizon)",
        _noticed_by("tests/flows/test_queue.py", "test_locations_are_discovered_once_a_tick_whoever_runs"),
    ),
    PlantedBreak(
        "who plans shards undoes what a run says",
        "app/state/azure_table.py",
        "self._tables.put_if(name, known, etag_of(found) if found else None)",
        "self._tables.put(name, known)",
        _noticed_by(
            "tests/contracts/test_azure_table.py", "test_what_a_run_says_of_the_feed_meanwhile_is_not_undone"
        ),
    ),
    PlantedBreak(
        "a message is believed whatever year its tick is in",
        "app/run/shard_message.py",
        "return in_reach(parse_time(text))",
        "return parse_time(text)",
        _noticed_by(
            "tests/unit/test_shard_message.py", "test_whatever_else_is_on_a_queue_is_refused_by_name"
        ),
    ),
    PlantedBreak(
        "who plans shards holds all ids of all locations",
        "app/state/azure_table.py",
        "return self._load(name, WHOLE, LocationState.outline)",
        "return self.load(name)",
        _noticed_by(
            "tests/contracts/test_state_store.py",
            "test_an_outline_has_all_but_the_ids_seals_and_sensors_of_locations",
        ),
    ),
    PlantedBreak(
        "who plans shards forgets the earlier forwarder",
        "app/state/azure_table.py",
        "FeedState(takeover=self._takeover_from(name, earlier))",
        "FeedState()",
        _noticed_by(
            "tests/contracts/test_state_store.py",
            "test_a_position_of_the_earlier_forwarder_stays_when_discovery_is_kept",
        ),
    ),
    PlantedBreak(
        "each app has a function of the queue",
        "function_app.py",
        "if _BY_QUEUE:\n",
        "if app:\n",
        _noticed_by("tests/unit/test_function_app.py", "test_without_queue_mode_no_function_has_a_queue"),
    ),
    PlantedBreak(
        "an instance takes many shards at once",
        "host.json",
        '"batchSize": 1',
        '"batchSize": 16',
        _noticed_by(
            "tests/unit/test_function_app.py", "test_an_instance_takes_one_shard_at_a_time_and_none_again"
        ),
    ),
    PlantedBreak(
        "shards of a queue share files",
        "app/settings/checks.py",
        '    if state.store != "table":\n',
        '    if state.store == "none":\n',
        _noticed_by("tests/unit/test_settings.py", "test_shards_that_cannot_be_run_from_a_queue_are_refused"),
    ),
    PlantedBreak(
        "a request to a queue has no signature of what it asks",
        "app/state/shard_queue.py",
        '            *(f"{name}:{value}" for name, value in asked),\n',
        "",
        _noticed_by(
            "tests/flows/test_check_flow.py", "test_the_queue_of_shards_is_tried_and_nothing_of_that_stays"
        ),
    ),
)

_ON_A_VM = (
    PlantedBreak(
        "a run's log goes where its report goes",
        "deploy/vm/units/microshare-forwarder@.service",
        "StandardError=journal\n",
        "",
        _noticed_by("tests/unit/test_units.py", "test_what_a_unit_logs_is_in_the_journal"),
    ),
    PlantedBreak(
        "a credential that is not there keeps a unit from starting",
        "deploy/vm/units/microshare-forwarder@.service",
        "SetCredential=MICROSHARE_API_KEY:\\n\n",
        "",
        _noticed_by("tests/unit/test_units.py", "test_each_secret_may_be_a_credential_and_need_not_be_there"),
    ),
    PlantedBreak(
        "of a unit that keeps failing each failure is told",
        "deploy/vm/units/on-failure.sh",
        'then touch "$told"; else',
        "then :; else",
        _noticed_by(
            "tests/unit/test_units.py", "test_one_that_keeps_failing_is_told_of_once_and_again_after_a_day"
        ),
    ),
    PlantedBreak(
        "the Functions host on a VM downloads its extensions",
        "deploy/vm/func/host.json",
        '  "version": "2.0",\n',
        '  "version": "2.0",\n  "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle"},\n',
        _noticed_by(
            "tests/unit/test_units.py",
            "test_the_hosts_settings_for_a_vm_download_nothing_and_are_those_of_azure_otherwise",
        ),
    ),
)

_IN_THE_HUBS_STAND_IN = (
    PlantedBreak(
        "a frame without fields is read as the SDK would",
        "emulators/amqp.py",
        "if body[start] == _EMPTY_LIST:",
        "if body[start] is None:",
        _noticed_by(
            "tests/emulators/test_ends.py", "test_an_end_and_a_close_are_read_however_they_are_written"
        ),
    ),
    PlantedBreak(
        "a link that a client detaches is closed in silence",
        "emulators/amqp_server.py",
        "            self.send(amqp.DetachFrame(handle=detach.handle, closed=detach.closed, error=None))\n",
        "",
        _noticed_by(
            "tests/emulators/test_ends.py",
            "test_a_detach_is_answered_once_on_its_handle_with_what_it_says",
        ),
    ),
    PlantedBreak(
        "the handle of a link that was closed here is free at once",
        "emulators/amqp_server.py",
        "elif attach.handle in self._attaches:",
        "elif attach.handle in self.links:",
        _noticed_by(
            "tests/emulators/test_ends.py",
            "test_a_handle_of_a_link_that_was_closed_here_is_in_use_until_the_client_detaches_it",
        ),
    ),
    PlantedBreak(
        "after an end of ours frames of its session are answered",
        "emulators/amqp_server.py",
        "        if not self.ended:\n            self.connection.send",
        "        if True:\n            self.connection.send",
        _noticed_by(
            "tests/emulators/test_ends.py", "test_after_our_end_all_is_passed_over_until_the_clients"
        ),
    ),
    PlantedBreak(
        "a close is not the last that is written",
        "emulators/amqp_server.py",
        "        self.send(0, amqp.CloseFrame(error=problem))\n        self._closing = True\n",
        "        self.send(0, amqp.CloseFrame(error=problem))\n",
        _noticed_by(
            "tests/emulators/test_ends.py",
            "test_after_our_close_nothing_is_written_and_the_clients_ends_the_connection",
        ),
    ),
    PlantedBreak(
        "a client that does not answer a close is waited for without end",
        "emulators/amqp_server.py",
        "        self._patience = asyncio.get_running_loop().call_later(patience_s, self.abort)\n",
        "        self._patience = asyncio.get_running_loop().call_later(patience_s * 1e6, self.abort)\n",
        _noticed_by(
            "tests/emulators/test_ends.py", "test_a_client_that_does_not_answer_our_close_is_dropped"
        ),
    ),
    PlantedBreak(
        "a link that a client gave up is attached when its turn comes",
        "emulators/amqp_server.py",
        "return not self.ended and self._attaches.get(attach.handle) is attach",
        "return not self.ended",
        _noticed_by(
            "tests/emulators/test_ends.py",
            "test_a_link_that_a_client_gave_up_before_its_answer_is_not_attached",
        ),
    ),
    PlantedBreak(
        "a drained link keeps its credit",
        "emulators/amqp_server.py",
        "                    self._credit = 0\n                break",
        "                break",
        _noticed_by(
            "tests/emulators/test_ends.py",
            "test_a_link_that_is_drained_sends_what_it_has_and_says_that_the_credit_is_used_up",
        ),
    ),
)

_CONSUMER = "deploy/consumers/python"
_NEWER = "WHERE (excluded.enqueued, excluded.sequence) > (readings.enqueued, readings.sequence)"
_REPLACED = _noticed_by("tests/flows/test_consumer.py", "test_a_reading_is_replaced_by_what_was_stored_later")
_EACH_FORM = _noticed_by(
    "tests/flows/test_consumer.py",
    "test_the_table_is_the_source_reading_by_reading_after_all_trouble_in_each_form",
)

_IN_THE_CONSUMER = (
    PlantedBreak(
        "the consumer puts what the hub stored before in the place of what it stored later",
        f"{_CONSUMER}/merge.sql",
        _NEWER,
        "WHERE true",
        _REPLACED,
    ),
    PlantedBreak(
        "the consumer leaves out a correction that was stored in the same millisecond",
        f"{_CONSUMER}/merge.sql",
        _NEWER,
        "WHERE excluded.enqueued > readings.enqueued",
        _REPLACED,
    ),
    PlantedBreak(
        "the consumer keeps the version that it read first",
        f"{_CONSUMER}/merge.sql",
        _NEWER,
        "WHERE false",
        _noticed_by(
            "tests/faults/test_faults.py",
            "test_what_goes_wrong_is_survived[B11-row corrected inside the look-back]",
        ),
    ),
    PlantedBreak(
        "the consumer keeps one of two counts of one door and time",
        f"{_CONSUMER}/unfold.sql",
        "CASE WHEN NOT in_snapshot AND",
        "CASE WHEN false AND",
        _EACH_FORM,
    ),
    PlantedBreak(
        "the consumer takes a CloudEvent for the body that it holds",
        f"{_CONSUMER}/unfold.sql",
        "CASE WHEN :cloudevent THEN json_extract(:body, '$.data')",
        "CASE WHEN :cloudevent THEN :body",
        _EACH_FORM,
    ),
    PlantedBreak(
        "the consumer keeps what the forwarder added as the source's",
        f"{_CONSUMER}/unfold.sql",
        "'$._location_tags', '$._forwarder')",
        "'$._location_tags')",
        _EACH_FORM,
    ),
    PlantedBreak(
        "the consumer keeps rows before their checkpoint",
        f"{_CONSUMER}/consumer.py",
        "                self._merge(partition, event)\n",
        "                self._merge(partition, event)\n"
        '                self._database.execute("COMMIT")\n'
        '                self._database.execute("BEGIN IMMEDIATE")\n',
        _noticed_by(
            "tests/flows/test_consumer.py",
            "test_what_the_table_refuses_ends_it_with_nothing_of_its_batch_kept",
        ),
    ),
)

BREAKS = (
    *_IN_THE_CORE,
    *_AT_HUBS,
    *_IN_A_REPAIR,
    *_IN_WHAT_IS_NOTICED,
    *_IN_SETTINGS,
    *_IN_REDACTION,
    *_IN_WHAT_IS_KEPT,
    *_IN_SHARDS,
    *_BY_A_QUEUE,
    *_ON_A_VM,
    *_IN_ONE_FEED,
    *_IN_WHAT_IS_SHOWN,
    *_IN_COMMANDS,
    *_MORE_OF_THE_CORE,
    *_IN_THE_FASTER_WAYS,
    *_IN_THE_HUBS_STAND_IN,
    *_IN_FORMS_OF_BODIES,
    *_IN_THE_CONSUMER,
)
