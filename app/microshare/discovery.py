"""Which buildings the configured organisations own: device clusters turned into places. Pure.

Clusters carry secrets (readAuth, writeAuth, LoRa keys): only the fields named here are
looked at, and nothing of a cluster is kept or quoted but owners, names and locations.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.base.checkpoints import Place
from app.base.errors import NoPermission
from app.base.grouping import by_key
from app.base.readings import JsonObject
from app.base.text import counted, named, printable
from app.base.view_text import LONGEST_CHARACTERS

_SKETCHED = 16
_NAMED = 5
# All that is looked at of a cluster, and of the envelope that it comes in.
READ_NAMES = frozenset(
    {"meta", "totalPages", "totalCount", "perPage", "$numberLong", "objs", "_id", "id", "$oid", "name"}
    | {"owner", "org", "data", "devices", "guid", "location"}
)


@dataclass(frozen=True, slots=True)
class Found:
    """What discovery found.

    `places` are sorted by name. `collisions` are names that two organisations own: readings do
    not say whose they are, so these are no places; a location can still be configured by name.
    """

    places: tuple[Place, ...]
    warnings: tuple[str, ...] = ()
    collisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Organisation:
    """Who owns clusters, and what its devices stand in."""

    name: str
    clusters: int
    locations: int
    devices: int


def organisations_in(listed: Sequence[Any]) -> tuple[Organisation, ...]:
    """Give the organisations that own the listed clusters, by name, whoever is configured."""
    # Case is ignored; the first way of writing a name counts.
    owners = by_key(
        (owner.casefold(), owner)
        for cluster in listed
        if isinstance(cluster, Mapping)
        if (owner := _owner(cluster))
    )
    return tuple(_organisation(listed, names[0], len(names)) for _, names in sorted(owners.items()))


def _organisation(listed: Sequence[Any], name: str, clusters: int) -> Organisation:
    places = find_places(listed, [f"={name}"]).places
    return Organisation(name, clusters, len(places), sum(place.devices for place in places))


def find_places(listed: Sequence[Any], identity: Sequence[str]) -> Found:
    """Give the buildings of the listed clusters that `identity` owns, each object judged for itself.

    A building is the first level of a device's location, without spaces around it. A device's
    status says nothing: whole sites are `pending` and produce data. Raises NoPermission, naming
    the organisations seen, where none of them is meant by `identity`.
    """
    clusters = [cluster for cluster in listed if isinstance(cluster, Mapping)]
    owned = [cluster for cluster in clusters if is_owned(_owner(cluster), identity)]
    if not owned:
        seen = ", ".join(sorted({printable(_owner(cluster)) or "no owner" for cluster in clusters}))
        raise NoPermission(
            f"microshare: discovery: no cluster of {', '.join(identity)}, only of {seen or 'nobody'}; check "
            f"MICROSHARE_IDENTITY and MICROSHARE_PC_DEVICE_CLUSTER_ID, and the account's rights"
        )
    buildings = _buildings(clusters, identity)
    ours = [(name, building) for name, building in sorted(buildings.items()) if building.devices]
    places = tuple(
        Place(name, next(iter(building.owners.values())), len(building.devices), _sketch(building.guids))
        for name, building in ours
        if len(building.owners) == 1
    )
    collisions = tuple(name for name, building in ours if len(building.owners) > 1)
    return Found(places, tuple(_left_out(owned, len(listed) - len(clusters))), collisions)


def _left_out(owned: Sequence[JsonObject], no_clusters: int) -> Iterator[str]:
    """Tell what of our clusters, or beside them, could not be taken."""
    for cluster in owned:
        if flawed := _flawed_devices(cluster):
            yield (
                f"cluster {_text(cluster.get('name'))!r}: {counted(flawed, 'device')} without the form "
                f"of an object, or with a location that is not a list of levels; left out"
            )
    unreadable = no_clusters + sum(not _has_devices(cluster) for cluster in owned)
    if unreadable:
        yield (
            f"discovery: {counted(unreadable, 'cluster')} could not be read, or with no readable list of "
            f"devices; ask Microshare about these, the others were taken"
        )
    names = [_first_level(device) or "" for cluster in owned for device in _devices(cluster)]
    too_long = sum(len(name) > LONGEST_CHARACTERS for name in names)
    if too_long:
        yield (
            f"discovery: {counted(too_long, 'device')} with a building's name of more than "
            f"{LONGEST_CHARACTERS} characters, left out; give that building a shorter name in Microshare"
        )


@dataclass(slots=True)
class _Building:
    """Who has devices in a building, each owner as first written; and the devices that are ours."""

    owners: dict[str, str] = field(default_factory=dict)
    devices: set[str] = field(default_factory=set)
    guids: set[str] = field(default_factory=set)


def _buildings(clusters: Sequence[JsonObject], identity: Sequence[str]) -> Mapping[str, _Building]:
    found: defaultdict[str, _Building] = defaultdict(_Building)
    for position, cluster in enumerate(clusters):
        owner = _owner(cluster)
        ours = is_owned(owner, identity)
        for number, device in enumerate(_devices(cluster)):
            if name := _building(device):
                found[name].owners.setdefault(owner.casefold(), owner)
                if ours:
                    found[name].devices.add(_guid(device) or f"{position}/{number}")
                    found[name].guids.add(_guid(device) or _eui(device))
    return found


def _flawed_devices(cluster: JsonObject) -> int:
    listed = _listed_devices(cluster)
    unreadable = len(listed) - len(_devices(cluster))
    return unreadable + sum(_building(device) is None for device in _devices(cluster))


def is_owned(owner: str, identity: Sequence[str]) -> bool:
    """Whether an organisation is meant: named in full, or by its trailing dot-segments; case ignored.

    `NORTH` and `example.NORTH` mean com.example.NORTH, `RTH` does not. With `=` before it only the
    organisation of exactly that name is meant.
    """
    dotted = f".{owner.casefold()}"
    return any(
        owner.casefold() == meant[1:].casefold()
        if meant.startswith("=")
        else bool(meant) and dotted.endswith(f".{meant.casefold()}")
        for meant in identity
    )


def shared_identities(owners: Iterable[str], identity: Sequence[str]) -> list[str]:
    """Warn of each identity by which several of these organisations are meant, naming them."""
    once = {owner.casefold(): owner for owner in sorted(owners)}
    warnings = []
    for meant in identity:
        several = [owner for owner in once.values() if is_owned(owner, [meant])]
        if len(several) > 1:
            warnings.append(
                f"MICROSHARE_IDENTITY {meant} means {len(several)} organisations, and all are forwarded: "
                f"{named([*map(printable, several)], _NAMED)}; write the one that is yours with = before it, "
                f"={printable(several[0])}, or each that is in a JSON array"
            )
    return warnings


def _owner(cluster: JsonObject) -> str:
    owner = cluster.get("owner")
    return _text(owner.get("org")).strip() if isinstance(owner, Mapping) else ""


def _devices(cluster: JsonObject) -> list[JsonObject]:
    return [device for device in _listed_devices(cluster) if isinstance(device, Mapping)]


def _listed_devices(cluster: JsonObject) -> list[Any]:
    data = cluster.get("data")
    devices = data.get("devices") if isinstance(data, Mapping) else None
    return devices if isinstance(devices, list) else []


def _has_devices(cluster: JsonObject) -> bool:
    """Whether the devices of a cluster can be read; one that names none has none."""
    data = cluster.get("data")
    if data is None:
        return True
    return isinstance(data, Mapping) and isinstance(data.get("devices"), list | None)


def _building(device: JsonObject) -> str | None:
    """Give the first level of a device's location: "" where it has none, None where it cannot be read.

    One that is too long to be kept is none.
    """
    name = _first_level(device)
    return "" if name is not None and len(name) > LONGEST_CHARACTERS else name


def _first_level(device: JsonObject) -> str | None:
    meta = device.get("meta")
    location = meta.get("location") if isinstance(meta, Mapping) else None
    if location is None or location == []:
        return ""
    if not isinstance(location, list):
        return None
    level = location[0]
    return "" if level is None else level.strip() if isinstance(level, str) else None


def _guid(device: JsonObject) -> str:
    # The device's `id` is a placeholder, all zeros, for many devices at once.
    return _text(device.get("guid"))


def _eui(device: JsonObject) -> str:
    found = _text(device.get("id"))
    return found if found.strip("0-") else ""


def _sketch(guids: Iterable[str]) -> frozenset[str]:
    """Give the least of the devices' hashes: two buildings with the same devices have the same."""
    hashes = (hashlib.sha256(guid.encode("utf-8", "surrogatepass")).hexdigest()[:8] for guid in guids if guid)
    return frozenset(sorted(hashes)[:_SKETCHED])


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""
