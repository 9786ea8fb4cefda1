"""TLS for what speaks none: an authority of a test's own, its certificates, and a front for a server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
VALID = (-1, 1)


class Authority:
    """An authority that signs certificates of servers. `file` holds its own, for those who trust it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Example Authority")
        builder = _begun(self._name, self._name, self._key, VALID)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def sign(self, *, days: tuple[int, int] = VALID, host: str = LOOPBACK, by_itself: bool = False) -> Path:
        """Write a certificate for an address or a name, valid between two days from now, with its key.

        One that is signed `by_itself` is not the authority's at all.
        """
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("example.test")
        builder = _begun(name, name if by_itself else self._name, key, days)
        names = x509.SubjectAlternativeName([_general_name(host)])
        signer = key if by_itself else self._key
        signed = builder.add_extension(names, critical=False).sign(signer, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{host}-{days[1]}.pem"
        path.write_bytes(_pem(signed) + secret)
        return path


class TlsFront:
    """Speaks TLS on an address of loopback, and passes on what is said in it to another port.

    `met` counts connections, `trusted` those whose other side took the certificate. Asked to CONNECT
    as a proxy is, it agrees, and then stands in for whoever was meant; `asked` is what it was asked then.
    """

    def __init__(
        self, onward: int, certificate: Path, *, host: str = LOOPBACK, port: int = 0, as_proxy: bool = False
    ) -> None:
        self.met = self.trusted = 0
        self.asked: list[str] = []
        self.host = host
        self.port = port
        self._onward = onward
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._as_proxy = as_proxy
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-front", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, self.host, self.port), self._loop
        )
        self._server = serving.result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                if self._as_proxy:
                    self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await writer.drain()
                await writer.start_tls(self._context)
                self.trusted += 1
                onward = await asyncio.open_connection(LOOPBACK, self._onward)
                await asyncio.gather(_pass_on(reader, onward[1]), _pass_on(onward[0], writer))
            finally:
                writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int]
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
