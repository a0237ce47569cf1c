"""A self-signed certificate for a try in the local network: browsers give the camera to HTTPS pages only."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lia_live.errors import StorageError

DAYS: Final = 90
RENEW_DAYS: Final = 7


def dev_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """(certificate, key) PEM files in ``folder``, made anew where they are missing, old or for another host.

    It is kept, so that a browser that was told once to accept it need not be told again. Raises ``StorageError``.
    """
    certificate, key = folder / "dev-cert.pem", folder / "dev-key.pem"
    names = sorted({"localhost", "127.0.0.1", "::1", *_addresses(host)})
    if _good(certificate, key, names):
        return certificate, key
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lia-live development")])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_private(
            key,
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise StorageError(
            f"the certificate cannot be written to {folder} ({error.strerror})",
            "make that folder writable, or give --cert and --key",
        ) from error
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a PEM certificate, as browsers show it."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return loaded.fingerprint(hashes.SHA256()).hex(":").upper()


def _good(certificate: Path, key: Path, names: list[str]) -> bool:
    if not key.is_file():
        return False
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS)
    return found.not_valid_after_utc > soon and all(_name(name) in held for name in names)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _addresses(host: str) -> set[str]:
    """What this machine is called in the local network; nothing is asked of any other machine."""
    found = {socket.gethostname()}
    if host not in ("0.0.0.0", "::"):
        return found | {host}
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(
            ("192.0.2.1", 9)
        )  # sends nothing: it only picks the address of the default route
        found.add(str(probe.getsockname()[0]))
    except OSError:
        pass
    finally:
        probe.close()
    return found


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
