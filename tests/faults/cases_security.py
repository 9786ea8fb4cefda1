"""G: what must not be shown, what names must not do, and whom not to trust."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.faults.canaries import API_KEY, HUB_KEY, PASSWORD
from tests.faults.case import Case
from tests.faults.cases_source import MINUTE, M, stays
from tests.faults.scene import RUN, Scene, building, run_command

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


def named(name: str, *, days: tuple[int, int] = (-1, 1), host: str = "127.0.0.1") -> Callable[[Scene], None]:
    """Put a server with such a certificate where the API should be."""

    def inject(scene: Scene) -> None:
        certificate = _certificate(scene.folder / "certificate.pem", days, host)
        if name != "self-signed":
            scene.environ["REQUESTS_CA_BUNDLE"] = str(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                scene.fired["trusted"] += 1

            do_GET = do_POST  # noqa: N815 - the base class's names

        class Server(ThreadingHTTPServer):
            def get_request(self) -> tuple[ssl.SSLSocket, object]:
                wire, address = super().get_request()
                scene.fired["connected"] += 1
                return context.wrap_socket(wire, server_side=True), address

            def handle_error(self, *_: object) -> None:
                """Say nothing."""

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        scene.after(server.server_close)
        scene.after(server.shutdown)
        url = f"https://127.0.0.1:{server.server_port}"
        scene.environ |= {"MICROSHARE_APP_URL": url, "MICROSHARE_API_URL": url}
        scene.proof("it was connected to, and sent nothing", lambda: _untrusted(scene))

    return inject


def _untrusted(scene: Scene) -> bool:
    return scene.fired["connected"] > 0 and scene.fired["trusted"] == 0


def _certificate(path: Path, days: tuple[int, int], host: str) -> Path:
    """Write a self-signed certificate for an address, valid between two days from now, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + written)
    return path


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
    Case(
        "G3",
        "certificate that is self-signed",
        UNTRUSTED,
        named("self-signed"),
        1,
        ("certificate", "REQUESTS_CA_BUNDLE"),
        act=run_command(*RUN),
        live=True,
    ),
    Case(
        "G3",
        "certificate that has expired",
        UNTRUSTED,
        named("expired", days=(-9, -2)),
        1,
        ("certificate", "expired"),
        act=run_command(*RUN),
        live=True,
    ),
    Case(
        "G3",
        "certificate of another host",
        UNTRUSTED,
        named("other", host="192.0.2.1"),
        1,
        ("certificate",),
        act=run_command(*RUN),
        live=True,
    ),
    Case("G4", "clusters that carry keys", "never logged, kept or forwarded", clusters_with_keys, new=True),
)
