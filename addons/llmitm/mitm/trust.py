"""Which certificates must a program trust that goes through the proxy?

Many CA variables replace a program's store, so the proxy's CA alone would cut the program off from
every host that is passed through undecrypted. The answer is a bundle: what was trusted before, plus
the proxy's CA. Never writes to a system store. Bundles are named after their content: two runs with
different inputs do not disturb each other, and a changed input gives a new file.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import certifi

from llmitm.errors import RuleError
from llmitm.mitm.environment import REPLACING, REPLACING_IF_SET
from llmitm.mitm.home import write_private

SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Alpine, Arch
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/ssl/cert.pem"),  # macOS, Alpine, BSD
)

_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----"
)
_KEPT_S = 30 * 24 * 3600
_LARGEST_FILE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """Two PEM files: what to add to a store, and what to replace one with."""

    ca_file: Path
    bundle_file: Path


def build_trust(
    environ: Mapping[str, str],
    ca_file: Path,
    folder: Path,
    system: Sequence[Path] = SYSTEM_BUNDLES,
) -> Trust:
    """Files under `folder` for programs that start with `environ`.

    ca_file: the proxy's CA, PEM. folder: exists, private. system: bundles to look for, the first
    readable one counts. Files of more than 30 days that nobody asked for again are removed.
    Raises RuleError when the CA holds no certificate or the folder cannot be written.
    """
    ours = certificates([ca_file])
    if not ours:
        say = "holds no certificate: start the proxy once, or look at --set confdir="
        raise RuleError(str(ca_file), 0, "", say)
    before = certificates(trusted_before(environ, system))
    extra = environ.get("NODE_EXTRA_CA_CERTS")
    added = certificates([Path(extra)]) if extra else []
    try:
        trust = Trust(
            ca_file=_kept(folder, "ca", [*ours, *added]) if added else ca_file,
            bundle_file=_kept(folder, "bundle", [*before, *added, *ours]),
        )
        _prune(folder)
    except OSError as error:
        raise RuleError(str(folder), 0, "", f"cannot be written: {error.strerror}") from None
    return trust


def upstream_store(
    environ: Mapping[str, str], folder: Path, system: Sequence[Path] = SYSTEM_BUNDLES
) -> Path:
    """One PEM file under `folder` with what programs of `environ` trust: the proxy, which stands in
    for them, checks providers against it (a company's CA included).

    Raises RuleError when the folder cannot be written.
    """
    try:
        return _kept(folder, "upstream", certificates(trusted_before(environ, system)))
    except OSError as error:
        raise RuleError(str(folder), 0, "", f"cannot be written: {error.strerror}") from None


def trusted_before(environ: Mapping[str, str], system: Sequence[Path]) -> list[Path]:
    """Files and folders that programs with this environment trust.

    The store is SSL_CERT_FILE and SSL_CERT_DIR where they hold certificates, else the system's
    bundle, else certifi's. What other variables name comes on top.
    """
    named = environ.get("SSL_CERT_FILE", "")
    folders = [name for name in environ.get("SSL_CERT_DIR", "").split(":") if name]
    store = [Path(name) for name in (named, *folders) if name]
    if not certificates(store):
        store = [next((file for file in system if certificates([file])), Path(certifi.where()))]
    others = {environ.get(name, ""): None for name in (*REPLACING, *REPLACING_IF_SET)}
    return [*store, *(Path(name) for name in others if name and name != named)]


def certificates(places: Iterable[Path]) -> list[bytes]:
    """The certificates of PEM files and of all files in folders, each once, in order of appearance.

    What is absent, unreadable, larger than 16 MB or not PEM counts as empty, as it does for the
    programs that read these places.
    """
    found: dict[bytes, None] = {}
    for place in places:
        for file in _files(place):
            for match in _CERTIFICATE.finditer(_content(file)):
                found.setdefault(b"\n".join(match[1].split()))
    return list(found)


def _files(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir()) if place.is_dir() else [place]
    except OSError:
        return []


def _content(file: Path) -> bytes:
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_FILE:
            return b""
        return file.read_bytes()
    except OSError:
        return b""


def _kept(folder: Path, name: str, held: Iterable[bytes]) -> Path:
    content = b"".join(
        b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n" % body
        for body in dict.fromkeys(held)
    )
    file = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.pem"
    if _content(file) == content:
        file.touch()
    else:
        write_private(file, content)
    return file


def _prune(folder: Path) -> None:
    oldest = time.time() - _KEPT_S
    for pattern in ("ca-*.pem", "bundle-*.pem", "upstream-*.pem"):
        for file in folder.glob(pattern):
            # Another run may remove it at the same moment.
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < oldest:
                    file.unlink()
