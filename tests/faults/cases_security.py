"""G: what must not be shown, what names must not do, and whom not to trust."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.canaries import API_KEY, HUB_KEY, PASSWORD
from tests.faults.case import Case
from tests.faults.cases_hubs import AMQPS, amqps_string, both_have_all, hub_port, own_address, third_hub
from tests.faults.cases_settings import refused, refused_unasked
from tests.faults.cases_source import MINUTE, M, all_moved, no_elsewhere, stays
from tests.faults.scene import RUN, Scene, building, run_command
from tests.tls import Authority, TlsFront

UNSEEN = "masked wherever it is shown, logged or kept, its URL-encoded and base64 forms too"
UNTRUSTED = "refused before anything is sent; the message says how to name another authority"


def echo(make: Callable[[str], str]) -> Callable[[Scene], None]:
    """Let an error page repeat what it was sent, as such pages do."""

    def inject(scene: Scene) -> None:
        token = next(iter(scene.source._tokens))
        told = " ".join(make(secret) for secret in (PASSWORD, API_KEY, token))
        scene.source.faults.status(400, f"bad request: {told} Authorization: Bearer {token}", location=M)

    return inject


def in_base64(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


def told_by_a_hub(scene: Scene) -> None:
    scene.b.reject("amqp:not-allowed", 2, f"SharedAccessKey={HUB_KEY}")


def clusters_with_keys(scene: Scene) -> None:
    def look(body: bytes) -> bytes:
        scene.fired["clusters with keys"] += b"readAuth" in body and b"AppKey" in body
        return body

    scene.source.faults.rewrite_body(look, on="devices")
    scene.proof("clusters held keys", lambda: scene.fired["clusters with keys"] > 0)


HOSTILE = (
    "../../outside",
    "/etc/example",
    "CON",
    "a/b\\c#d?e",
    "x" * 300,
    'two\nlines {"event": "run.finished"}',
    "null\x00byte",
)


def hostile_names(scene: Scene) -> None:
    for name in HOSTILE:
        scene.set_aside(scene.plant(name, scene.clock.now - MINUTE, without=["time"]))
    before = _outside(scene)
    scene.proof(
        "each is in the state under its own name", lambda: set(scene.state().locations) == set(HOSTILE)
    )
    scene.proof("each has a reading set aside", lambda: len(scene.report.quarantined) == len(HOSTILE))
    scene.proof("nothing was written outside the state", lambda: _outside(scene) == before)


def _outside(scene: Scene) -> set[Path]:
    return {path for path in scene.folder.parent.rglob("*") if not path.is_relative_to(scene.state_dir)} - {
        scene.state_dir
    }


# --- TLS ----------------------------------------------------------------------------------------------


def tls_before(scene: Scene, onward: int, certificate: Path, **how: Any) -> TlsFront:
    """Put a server that speaks TLS before a port, until the end of the case."""
    front = TlsFront(onward, certificate, **how).start()
    scene.stack.callback(front.stop)
    return front


def source_at(scene: Scene, url: str) -> None:
    scene.environ |= {"MICROSHARE_APP_URL": url, "MICROSHARE_API_URL": url}


def source_port(scene: Scene) -> int:
    port = urlsplit(scene.source.url).port
    assert port is not None
    return port


def over_tls(scene: Scene) -> None:
    """Have the source and hub b speak TLS, with certificates of an authority that the settings name."""
    authority = Authority(scene.folder)
    scene.environ["REQUESTS_CA_BUNDLE"] = str(authority.file)
    source = tls_before(scene, source_port(scene), authority.sign())
    source_at(scene, f"https://127.0.0.1:{source.port}")
    port, host = hub_port(scene), own_address(hub_port(scene))
    hub = tls_before(scene, port, authority.sign(host=host), host=host, port=AMQPS)
    scene.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([amqps_string(host, "b")])
    scene.fronts = {"source": source, "b": hub}


def all_over_tls(scene: Scene) -> None:
    before = {name: front.trusted for name, front in scene.fronts.items()}
    scene.proof(
        "all was spoken over TLS", lambda: all(scene.fronts[name].trusted > before[name] for name in before)
    )


def presents(
    certificate: Callable[[Authority], Path], *, trusted: bool = True, environ: Mapping[str, str] = {}
) -> Callable[[Scene], None]:
    """Put a server with such a certificate where the API should be."""

    def inject(scene: Scene) -> None:
        authority = Authority(scene.folder)
        if trusted:
            scene.environ["REQUESTS_CA_BUNDLE"] = str(authority.file)
        scene.environ |= environ
        front = tls_before(scene, source_port(scene), certificate(authority))
        source_at(scene, f"https://127.0.0.1:{front.port}")
        scene.proof("it was connected to, and sent nothing", lambda: _untrusted(front))

    return inject


def _untrusted(front: TlsFront) -> bool:
    return front.met > 0 and front.trusted == 0


def intercepting_proxy(scene: Scene) -> None:
    """Let a proxy answer for the API itself, with a certificate of its own making."""
    stranger = Authority(_folder(scene, "stranger"))
    proxy = tls_before(scene, source_port(scene), stranger.sign(), as_proxy=True)
    scene.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.port}"
    scene.proof("it was connected to, and sent nothing", lambda: _untrusted(proxy))


def redirected_to_http(scene: Scene) -> None:
    scene.source.faults.redirect(f"{scene.source.url}/elsewhere", location=M)


def untrusted_hub(scene: Scene) -> str:
    """Give a third hub, whose certificate is of an authority that nobody named."""
    host = own_address(source_port(scene))
    stranger = Authority(_folder(scene, "stranger"))
    tls_before(scene, hub_port(scene), stranger.sign(host=host), host=host, port=AMQPS)
    return amqps_string(host, "b")


def _folder(scene: Scene, name: str) -> Path:
    folder = scene.folder / name
    folder.mkdir()
    return folder


def switch_in_config(scene: Scene) -> None:
    path = scene.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("microshare:\n", "microshare:\n  verify: false\n", 1))
    scene.after(lambda: path.write_text(text))
    refused_unasked(scene)


# What turns checks off in other programs, or in older versions of the libraries.
SWITCHES = {
    "PYTHONHTTPSVERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_CERT_FILE": "",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "GIT_SSL_NO_VERIFY": "1",
}


CASES = (
    Case("G1", "secrets in an error page", UNSEEN, echo(str), 1, ("400", "***"), stays),
    Case(
        "G1",
        "secrets in an error page, URL-encoded",
        UNSEEN,
        echo(lambda secret: quote(secret, safe="")),
        1,
        ("***",),
        stays,
    ),
    Case("G1", "secrets in an error page, in base64", UNSEEN, echo(in_base64), 1, ("***",), stays),
    Case("G1", "key in what a hub answers", UNSEEN, told_by_a_hub, 1, ("rejected",)),
    Case(
        "G2",
        "names that are paths, devices or log lines",
        "escaped so that they can be read back; no write outside the state",
        hostile_names,
        buildings=tuple(building(name) for name in HOSTILE),
    ),
    Case(
        "G2",
        "names that are hostile to a table",
        "escaped so that they can be read back",
        hostile_names,
        buildings=tuple(building(name) for name in HOSTILE),
        table=True,
    ),
    *(
        Case(
            "G3",
            name,
            UNTRUSTED,
            inject,
            1,
            ("certificate", "REQUESTS_CA_BUNDLE", *says),
            act=run_command(*RUN),
            live=True,
        )
        for name, inject, says in (
            (
                "certificate that is self-signed",
                presents(lambda authority: authority.sign(by_itself=True)),
                ("self-signed",),
            ),
            (
                "certificate of an unknown authority",
                presents(lambda authority: authority.sign(), trusted=False),
                ("issuer",),
            ),
            (
                "certificate that has expired",
                presents(lambda authority: authority.sign(days=(-9, -2))),
                ("expired",),
            ),
            (
                "certificate of another host",
                presents(lambda authority: authority.sign(host="192.0.2.1")),
                ("mismatch",),
            ),
            (
                "variables that turn checks off in other programs",
                presents(lambda authority: authority.sign(), trusted=False, environ=SWITCHES),
                ("issuer",),
            ),
        )
    ),
    Case(
        "G3",
        "proxy that answers for the API itself",
        UNTRUSTED,
        intercepting_proxy,
        1,
        ("certificate", "REQUESTS_CA_BUNDLE"),
        act=run_command(*RUN),
        begins=over_tls,
        live=True,
    ),
    Case(
        "G3",
        "API over TLS that redirects to plain HTTP",
        "never followed, the token goes nowhere",
        redirected_to_http,
        1,
        ("redirect", "MICROSHARE_API_URL"),
        no_elsewhere,
        begins=over_tls,
    ),
    Case(
        "G3",
        "authority that the settings name",
        "trusted, for the API and for hubs",
        all_over_tls,
        check=all_moved,
        begins=over_tls,
    ),
    Case(
        "G3",
        "hub with a certificate of an unknown authority",
        "that hub is left alone, others get all; the message says how to name another authority",
        third_hub(untrusted_hub),
        1,
        ("certificate", "REQUESTS_CA_BUNDLE"),
        both_have_all,
    ),
    refused(
        "key of config.yaml that would turn checks off",
        "G3",
        "there is none: refused, and nothing is asked",
        switch_in_config,
        "microshare.verify",
    ),
    Case("G4", "clusters that carry keys", "never logged, kept or forwarded", clusters_with_keys, new=True),
)
