"""What the Microshare stand-in says: views and their templates, logins, device clusters, envelopes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qs

from emulators.estate import FOREIGN_CLUSTER, Building, EmulatedFeed, Entry, Tags, ms_of
from emulators.microshare_http import JsonObject, Request, Response

Refusal = Literal["401", "page", "form", "redirect", "no-token"]
VIEW_REC_TYPE = "io.microshare.fm.master.agg"
PACKED_REC_TYPE = "io.microshare.peoplecounter.packed"
OWN_ORG = "com.example.NORTH"
FOREIGN_ORG = "com.other.SOUTH"
CLUSTER_IDS = ("aaaaaaaaaaaaaaaaaaaaaa01", "aaaaaaaaaaaaaaaaaaaaaa02", "aaaaaaaaaaaaaaaaaaaaaa03")
CLUSTER_NAMES = ("Example People Counting", "Example Annex Counting", "Other tenant")
FIELD_SLOTS = tuple(f"field{number}" for number in range(1, 7))
# What a query to any view must fill.
PLACEHOLDERS = ("recType", "dataContext", *FIELD_SLOTS, "loc1", "from", "to")
NOT_FOUND = "io.microshare.utils.NotFoundException: Record not found or inaccessible."
DENIED = "Access to this path is denied"


def refused_login(request: Request, how: Refusal) -> Response:
    """Refuse a login with 401, with the form and 401 or 200, with a way back to it, or without a token."""
    if how == "form":
        return login_form(200)
    if how == "redirect":
        return Response(303, headers={"Location": "/login"})
    if how == "no-token":
        without: JsonObject = {"data": {"flash": "Invalid username or password"}}
        return with_session(without) if request.path == "/login" else Response.json({"extended": {}})
    return login_form(401) if how == "page" else Response.text(401, "Unauthorized")


def login_form(status: int) -> Response:
    form = '<form method="post" action="/login"><input name="username"><input name="password"></form>'
    return Response.html(status, form)


def with_session(content: JsonObject) -> Response:
    cookie = f"PLAY_SESSION={play_session(content)}; Path=/; HTTPOnly; SameSite=Lax"
    return Response(303, headers={"Location": "/composer", "Set-Cookie": cookie})


def play_session(content: JsonObject) -> str:
    """Make the JWT of a session cookie, whose payload always needs padding and the URL-safe alphabet."""
    # Three characters of each of these give '-' and '_' in base64url, wherever they come to lie.
    content = content | {"note": "~~~???"}
    while len(payload := json.dumps(content).encode()) % 3 == 0:
        content["note"] += "?"
    signed = ".".join((_base64url(json.dumps({"typ": "JWT", "alg": "HS256"}).encode()), _base64url(payload)))
    signature = hmac.new(b"example-signing-key", signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64url(signature)}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_form(request: Request) -> dict[str, str]:
    """Read a form, or a JSON object, from a request's body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values[0] for name, values in pairs.items()}
    if kind == "application/json" and request.path != "/login":
        try:
            content = json.loads(request.body)
        except ValueError:
            return {}
        return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}
    return {}


def unix(instant: datetime) -> int:
    return ms_of(instant) // 1000


def template_error(feed: EmulatedFeed, request: Request) -> str | None:
    """Say what the template of a feed's view makes of a query's parameters; None where it can be filled."""
    placeholders = PLACEHOLDERS + feed.placeholders
    for name in placeholders:
        if name not in request.query:
            return _mvel_error(name)
    if any(len(request.query[name]) > 1 for name in placeholders):
        # A repeated parameter breaks the text around it: what MVEL names is not what is at fault.
        return _mvel_error("ownerOrg")
    try:
        context = json.loads(request.first("dataContext") or "")
    except ValueError:
        return _mvel_error("ownerOrg")
    if not isinstance(context, list):
        return _mongo_error("$all needs an array")
    if "ownerOrg" in placeholders:
        try:
            re.compile(json.loads(request.first("ownerOrg") or ""))
        except (ValueError, TypeError, re.error):
            return _mongo_error("$regex has to be a string")
    return None


def _mvel_error(name: str) -> str:
    near = f"[Near : {{... {name} ....}}]"
    return f"[Error: unresolvable property or identifier: {name}]\n{near}\n{'^':>14}\n[Line: 1, Column: 1]"


def _mongo_error(said: str) -> str:
    return f"com.mongodb.MongoCommandException: Command failed with error 2 (BadValue): '{said}'"


def line_entry(feed: EmulatedFeed, entry: Entry, slots: Collection[str | None]) -> Entry:
    """Give an entry with those sub-documents only that field1 to field6 name."""
    return {name: value for name, value in entry.items() if name not in feed.sub_documents or name in slots}


def derived(feed: EmulatedFeed, tags: Tags, line: list[Entry], at: datetime) -> JsonObject:
    return {
        "_id": feed.view_id,
        "id": feed.view_id,
        "name": "Derived Data",
        "desc": f"Derived from {VIEW_REC_TYPE}",
        "url": f"/share/{VIEW_REC_TYPE}",
        "recType": VIEW_REC_TYPE,
        "tags": [],
        "tstamp": f"{at:%m/%d/%Y %I:%M:%S}:{at.microsecond // 1000:03d} {at:%p}",
        "data": {"_id": {"tags": list(tags)} if tags else {}, "line": line},
    }


def org_of(cluster: int) -> str:
    return FOREIGN_ORG if cluster == FOREIGN_CLUSTER else OWN_ORG


def owner_of(cluster: int) -> JsonObject:
    return {
        "appid": "BBBBBBBB-0000-0000-0000-000000000002",
        "org": org_of(cluster),
        "user": "svc@example.test",
        "owners": [],
    }


def cluster_of(number: int, listed: Sequence[Building], *, details: bool) -> JsonObject:
    cluster_id = CLUSTER_IDS[number]
    summary: JsonObject = {
        "_id": cluster_id,
        "id": cluster_id,
        "name": CLUSTER_NAMES[number],
        "url": f"/device/{PACKED_REC_TYPE}/{cluster_id}",
        "recType": PACKED_REC_TYPE,
        "tags": [],
        "tstamp": 1726131600000,
    }
    if not details:
        return summary
    return summary | {
        "desc": "",
        "createDate": "2024-09-12T09:00:00.000Z",
        "updateDate": "2025-10-01T08:00:00.000Z",
        "creatorId": "svc@example.test",
        "updaterId": "svc@example.test",
        "owner": owner_of(number),
        "data": {
            "isActive": True,
            "recType": PACKED_REC_TYPE,
            "targetRecType": "io.microshare.peoplecounter.unpacked",
            "meta": {"location": "Example, demo, people", "type": "com.vendor.counter.M1.Decoder"},
            "network": {"network": "com.vendor.ns", "region": "EU868", "version": "v1.1"},
            "facts": {"usecase": "SC02"},
            "readAuth": f"not-a-real-read-secret-{number}",
            "writeAuth": f"not-a-real-write-secret-{number}",
            "devices": _devices_of(number, listed),
        },
    }


def _devices_of(cluster: int, listed: Sequence[Building]) -> list[JsonObject]:
    buildings = [building for building in listed if building.cluster == cluster]
    devices = [
        _device([*tags, "Door A"] if len(tags) < 4 else list(tags), building.first_name)
        for building in buildings
        for tags in building.groups
    ]
    if cluster == 0:
        devices.append({**_device([]), "meta": {"lora": {"AppKey": "NOT-A-REAL-KEY", "NwkKey": ""}}})
    if cluster == 0 and buildings:
        name = buildings[0].name
        unset = _device([name, "8", "Roof", ""])  # a placeholder id, and a level left empty
        devices.append({**unset, "id": "00-00-00-00-00-00-00-00", "status": "active"})
        devices.append({**_device([name, "9"]), "status": "inactive"})
    return devices


def _device(location: list[str], first_name: str | None = None) -> JsonObject:
    """Give a device at a location; it stays the same device where its building gets another name."""
    place = location if first_name is None else [first_name, *location[1:]]
    mark = hashlib.blake2b("\x1f".join(place).encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return {
        "guid": f"dddddddd-0000-0000-0000-{mark.hex()}",
        "id": f"00-00-5E-00-53-{mark[:3].hex('-').upper()}",
        "status": "pending",
        "meta": {"location": location, "lora": {"AppKey": f"NOT-A-REAL-KEY-{mark.hex()}", "NwkKey": ""}},
        "state": {"updateDate": "2025-10-01T08:00:00.000Z"},
    }
