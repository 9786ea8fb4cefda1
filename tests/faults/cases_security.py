"""G: what must not be shown, what names must not do, and whom not to trust."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.canaries import API_KEY, HUB_KEY, PASSWORD, forms
from tests.environments.faulty import RUN, FaultyInstallation, building, run_command
from tests.environments.proxies import RefusingProxy
from tests.environments.tls import Authority, TlsFront
from tests.faults.case import Case
from tests.faults.cases_hubs import AMQPS, amqps_string, both_have_all, hub_port, own_address, third_hub
from tests.faults.cases_settings import refused, refused_unasked
from tests.faults.cases_source import MINUTE, M, all_moved, no_elsewhere, stays

UNSEEN = "masked wherever it is shown, logged or kept, in every form that a server may write it in"
NOT_PASTED = "only the status and a title are quoted"
UNTRUSTED = "refused before anything is sent; the message says how to name another authority"


def echo(make: Callable[[str], str]) -> Callable[[FaultyInstallation], None]:
    """Let an error repeat what it was sent in every form, in a body that `make` makes of it."""

    def inject(faulty: FaultyInstallation) -> None:
        token = next(iter(faulty.source._tokens))
        told = " ".join(form for secret in (PASSWORD, API_KEY, token) for form in sorted(forms(secret)))
        body = make(f"bad request: {told} Authorization: Bearer {token}")
        faulty.source.faults.status(400, body, location=M)

    return inject


def as_json(told: str) -> str:
    return json.dumps({"error": told})


def as_page(told: str) -> str:
    return f"<html><head><title>400 Bad Request</title></head><body>{told}</body></html>"


def nothing_pasted(faulty: FaultyInstallation) -> None:
    stays(faulty)
    assert "bad request" not in faulty.report.failures[0].error


def told_by_a_hub(faulty: FaultyInstallation) -> None:
    faulty.b.reject("amqp:not-allowed", 2, f"SharedAccessKey={HUB_KEY}")


def clusters_with_keys(faulty: FaultyInstallation) -> None:
    def look(body: bytes) -> bytes:
        faulty.fired["clusters with keys"] += b"readAuth" in body and b"AppKey" in body
        return body

    faulty.source.faults.rewrite_body(look, on="devices")
    faulty.proof("clusters held keys", lambda: faulty.fired["clusters with keys"] > 0)


HOSTILE = (
    "../../outside",
    "/etc/example",
    "CON",
    "a/b#d?e",
    "x" * 250,
    "event: run.finished {}; rm -rf *",
)


def hostile_names(faulty: FaultyInstallation) -> None:
    for name in HOSTILE:
        faulty.set_aside(faulty.plant(name, faulty.clock.now - MINUTE, without=["time"]))
    before = _outside(faulty)
    faulty.proof(
        "each is in the state under its own name", lambda: set(faulty.state().locations) == set(HOSTILE)
    )
    faulty.proof("each has a reading set aside", lambda: len(faulty.report.quarantined) == len(HOSTILE))
    faulty.proof("nothing was written outside the state", lambda: _outside(faulty) == before)


def _outside(faulty: FaultyInstallation) -> set[Path]:
    return {path for path in faulty.folder.parent.rglob("*") if not path.is_relative_to(faulty.state_dir)} - {
        faulty.state_dir
    }


# --- TLS ----------------------------------------------------------------------------------------------


def tls_before(faulty: FaultyInstallation, onward: int, certificate: Path, **how: Any) -> TlsFront:
    """Put a server that speaks TLS before a port, until the end of the case."""
    front = TlsFront(onward, certificate, **how).start()
    faulty.stack.callback(front.stop)
    return front


def source_at(faulty: FaultyInstallation, url: str) -> None:
    faulty.environ |= {"MICROSHARE_APP_URL": url, "MICROSHARE_API_URL": url}


def source_port(faulty: FaultyInstallation) -> int:
    port = urlsplit(faulty.source.url).port
    assert port is not None
    return port


def over_tls(faulty: FaultyInstallation) -> None:
    """Have the source and hub b speak TLS, with certificates of an authority that the settings name."""
    authority = Authority(faulty.folder)
    faulty.environ["REQUESTS_CA_BUNDLE"] = str(authority.file)
    source = tls_before(faulty, source_port(faulty), authority.sign())
    source_at(faulty, f"https://127.0.0.1:{source.port}")
    port, host = hub_port(faulty), own_address(hub_port(faulty))
    hub = tls_before(faulty, port, authority.sign(host=host), host=host, port=AMQPS)
    faulty.environ["EVENT_HUB_CONNECTION_STRINGS"] = json.dumps([amqps_string(host, "b")])
    faulty.fronts = {"source": source, "b": hub}


def all_over_tls(faulty: FaultyInstallation) -> None:
    before = {name: front.trusted for name, front in faulty.fronts.items()}
    faulty.proof(
        "all was spoken over TLS", lambda: all(faulty.fronts[name].trusted > before[name] for name in before)
    )


def presents(
    certificate: Callable[[Authority], Path], *, trusted: bool = True, environ: Mapping[str, str] = {}
) -> Callable[[FaultyInstallation], None]:
    """Put a server with such a certificate where the API should be."""

    def inject(faulty: FaultyInstallation) -> None:
        authority = Authority(faulty.folder)
        if trusted:
            faulty.environ["REQUESTS_CA_BUNDLE"] = str(authority.file)
        faulty.environ |= environ
        front = tls_before(faulty, source_port(faulty), certificate(authority))
        source_at(faulty, f"https://127.0.0.1:{front.port}")
        faulty.proof("it was connected to, and sent nothing", lambda: _untrusted(front))

    return inject


def _untrusted(front: TlsFront) -> bool:
    return front.met > 0 and front.trusted == 0


def intercepting_proxy(faulty: FaultyInstallation) -> None:
    """Let a proxy answer for the API itself, with a certificate of its own making."""
    stranger = Authority(_folder(faulty, "stranger"))
    proxy = tls_before(faulty, source_port(faulty), stranger.sign(), as_proxy=True)
    faulty.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.port}"
    faulty.proof("it was connected to, and sent nothing", lambda: _untrusted(proxy))


def proxy_that_wants_a_login(faulty: FaultyInstallation) -> None:
    """Put a proxy before the API that takes no user, under a password that no URL would have as it is."""
    proxy = RefusingProxy()
    faulty.stack.callback(proxy.close)
    faulty.environ["HTTPS_PROXY"] = f"http://forwarder:{PASSWORD}@127.0.0.1:{proxy.port}"
    faulty.proof(
        "it was asked for the API", lambda: any(asked.startswith("CONNECT ") for asked in proxy.asked)
    )


def redirected_to_http(faulty: FaultyInstallation) -> None:
    faulty.source.faults.redirect(f"{faulty.source.url}/elsewhere", location=M)


def untrusted_hub(faulty: FaultyInstallation) -> str:
    """Give a third hub, whose certificate is of an authority that nobody named."""
    host = own_address(source_port(faulty))
    stranger = Authority(_folder(faulty, "stranger"))
    tls_before(faulty, hub_port(faulty), stranger.sign(host=host), host=host, port=AMQPS)
    return amqps_string(host, "b")


def _folder(faulty: FaultyInstallation, name: str) -> Path:
    folder = faulty.folder / name
    folder.mkdir()
    return folder


def switch_in_config(faulty: FaultyInstallation) -> None:
    path = faulty.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("microshare:\n", "microshare:\n  verify: false\n", 1))
    faulty.after(lambda: path.write_text(text))
    refused_unasked(faulty)


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
    Case("G1", "secrets in an error in JSON", UNSEEN, echo(as_json), 1, ("400", "bad request: ***"), stays),
    Case(
        "G1", "secrets in an error page", NOT_PASTED, echo(as_page), 1, ("400 Bad Request",), nothing_pasted
    ),
    Case("G1", "secrets in an error in text", NOT_PASTED, echo(str), 1, ("400", "not JSON"), nothing_pasted),
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
        "proxy that wants another login",
        "the run fails and names the proxy, its password nowhere",
        proxy_that_wants_a_login,
        1,
        ("through the proxy http://127.0.0.1", "407"),
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
