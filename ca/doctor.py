"""`python -m ca.doctor`: looks at every part and says in words what is wrong and how to mend it.

It changes nothing, and can run beside the services. With `--lint` pkilint judges samples of what
this CA signed. Exit status 0 when all is well (warnings included), 1 otherwise.
"""

from __future__ import annotations

import asyncio
import json
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from ca import assembly, logs
from ca.authority import hierarchy
from ca.config import DOCUMENTATION_ARC, Misconfigured, Settings
from ca.hsm import TokenFault
from ca.judges import pkilint, samples
from ca.judges.samples import Sample
from ca.pki.certificate import Issuer
from ca.pki.profile import Kind
from ca.proofs.providers import Away, Provider
from ca.refusals import Refused
from ca.store import certificates, crls, durability, schema
from ca.store.transaction import Database

_MARKS = {"ok": "✓", "warning": "!", "wrong": "✗"}
_CALL_SECONDS = 3
_NONE_YET = "They are judged once they were signed: enrol an agent, revoke a certificate, and run this again."
_TELL_US = "Report it with the sample: what this CA signs must pass."


class Verdict(StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, how it is, one sentence, and where something is wrong the mend."""

    part: str
    verdict: Verdict
    sentence: str
    mend: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at one part after the other; what cannot be looked at without an earlier part is left out."""
    yield _home(settings)
    yield _arc(settings)
    yield _policy(settings)
    if not settings.pin_file.is_file():
        yield Finding("pin", Verdict.WRONG, f"There is no PIN file {settings.pin_file}.", "Run 'remit init'.")
        return
    yield _private("pin", settings.pin_file)
    try:
        database = Database(settings.database_url)
    except Exception as error:  # noqa: BLE001 (border: whatever is wrong with the database is the finding)
        yield Finding("database", Verdict.WRONG, f"It cannot be opened ({type(error).__name__}).", "Check the URL.")
        return
    try:
        yield from _stored(settings, database)
    finally:
        database.close()
    yield _reachable(settings)


def _home(settings: Settings) -> Finding:
    if not settings.home.is_dir():
        return Finding("home", Verdict.WRONG, f"There is no {settings.home}.", "Run 'remit init'.")
    if settings.home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding("home", Verdict.WRONG, f"Others may enter {settings.home}.", f"chmod 700 {settings.home}")
    return Finding("home", Verdict.OK, f"{settings.home} is this user's alone.")


def _arc(settings: Settings) -> Finding:
    if settings.oid_arc == DOCUMENTATION_ARC:
        return Finding(
            "oid arc",
            Verdict.WARNING,
            "The task extensions use the documentation arc of RFC 5612.",
            "Before production, register a Private Enterprise Number with IANA (free) and set REMIT_OID_ARC.",
        )
    return Finding("oid arc", Verdict.OK, f"The task extensions are under {settings.oid_arc}.")


def _policy(settings: Settings) -> Finding:
    """What stands in the file, which the CA reads at its start alone."""
    policies = assembly.rules(settings).policies
    if not policies:
        return Finding("policy", Verdict.OK, "No rule denies or shortens anything.")
    return Finding("policy", Verdict.OK, f"{settings.policy.file} has {len(policies)} that deny or shorten.")


def _private(part: str, file: Path) -> Finding:
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(part, Verdict.WRONG, f"Others may read {file}.", f"chmod 600 {file}")
    return Finding(part, Verdict.OK, f"{file} is this user's alone.")


def _stored(settings: Settings, database: Database) -> Iterator[Finding]:
    try:
        with database.read() as connection:
            current = schema.is_current(connection)
            weakness = durability.shortfall(connection)
    except Exception as error:  # noqa: BLE001 (border: as above)
        yield Finding("database", Verdict.WRONG, f"It does not answer ({type(error).__name__}).", "Check the URL.")
        return
    if not current:
        yield Finding("database", Verdict.WRONG, "The schema is another version's.", "Stop the services, 'remit init'.")
        return
    if weakness is not None:
        yield Finding("database", Verdict.WRONG, weakness, "Then restart the CA: it does not start without.")
        return
    yield Finding("database", Verdict.OK, "The schema is current, and commits are durable.")
    found = hierarchy.load(database, settings.status_url)
    if found is None:
        yield Finding("authority", Verdict.WRONG, "No ceremony was held.", "Run 'remit init'.")
        return
    yield _keys(settings, *found)
    yield _responder(database, found[1])
    yield _crls(database)
    yield from asyncio.run(_proofs(settings, *found))


def _keys(settings: Settings, root: Issuer, issuer: Issuer) -> Finding:
    signer = assembly.signer(settings)
    try:
        signer.start()
        assembly.adopt(signer, root, issuer)
    except TokenFault as fault:
        return Finding("token", Verdict.WRONG, str(fault), "Check REMIT_PKCS11__MODULE, the token and the PIN file.")
    finally:
        signer.close()
    return Finding("token", Verdict.OK, "It holds both CA keys, made inside it and not extractable, and they sign.")


def _responder(database: Database, issuer: Issuer) -> Finding:
    now = assembly.clock()
    with database.read() as connection:
        record = certificates.newest(connection, Kind.RESPONDER, issuer.id, now)
    if record is None:
        return Finding("responder", Verdict.WRONG, "No OCSP responder certificate is valid.", "Start 'remit serve'.")
    return Finding(
        "responder", Verdict.OK, f"The OCSP responder's certificate ends {record.intent.not_after:%F %T} UTC."
    )


def _crls(database: Database) -> Finding:
    now = assembly.clock()
    with database.read() as connection:
        published = crls.headings(connection)
    late = [f"{crl.issuer}/{crl.shard}" for crl in published if crl.next_update <= now]
    if late or not published:
        what = f"These CRLs have ended: {', '.join(late)}." if late else "No CRL was published."
        return Finding("crl", Verdict.WRONG, what, "Start 'remit serve'; it publishes at once.")
    return Finding(
        "crl", Verdict.OK, f"The next of {len(published)} CRLs ends {min(c.next_update for c in published):%F %T} UTC."
    )


def _reachable(settings: Settings) -> Finding:
    url = f"{settings.status_url}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=_CALL_SECONDS):  # noqa: S310 (our own URL, by configuration)
            return Finding("status service", Verdict.OK, f"{settings.status_url} is ready.")
    except urllib.error.HTTPError as error:
        return Finding("status service", Verdict.WRONG, f"{url} answers {error.code}.", "Read its answer and log.")
    except (OSError, ValueError):
        return Finding(
            "status service",
            Verdict.WARNING,
            f"Nothing answers at {settings.status_url}, which every certificate points to.",
            "Start 'remit serve'; if it runs elsewhere, check REMIT_STATUS_URL.",
        )


async def _proofs(settings: Settings, *ours: Issuer) -> list[Finding]:
    """Every outside proof of identity that is enabled: whether what it stands on can be had, asked for now."""
    configured = assembly.providers(settings, *ours).configured
    return list(await asyncio.gather(*(_proof(provider) for provider in configured)))


async def _proof(provider: Provider) -> Finding:
    part = f"proof {provider.name}"
    try:
        return Finding(part, Verdict.OK, await provider.check(assembly.clock()))
    except Away as away:
        return Finding(part, Verdict.WRONG, f"Nobody can enrol by it: {away}.", f"Check [proofs] for {provider.name}.")


def judge(settings: Settings) -> Iterator[Finding]:
    """What pkilint says of the newest of each kind that was signed. Needs a database that `examine` found well."""
    if not pkilint.is_installed():
        yield Finding(
            "lint", Verdict.WRONG, "pkilint is not installed, so nothing was judged.", "pip install '.[lint]'"
        )
        return
    now, database = assembly.clock(), Database(settings.database_url)
    found: list[Sample] = []
    try:
        with database.read() as connection:
            found += samples.stored(connection, now)
            found += samples.answered(connection, settings.status_url, now)
    except (OSError, ValueError) as error:
        sentence = f"{settings.status_url} gave no OCSP answer to judge ({type(error).__name__})."
        yield Finding("lint ocsp", Verdict.WARNING, sentence, "Start 'remit serve', and run this again.")
    finally:
        database.close()
    yield from map(_opinion, found)
    missing = [name for name in samples.NAMES if name not in {sample.name for sample in found}]
    if missing:
        yield Finding("lint", Verdict.WARNING, f"Nothing was judged of these kinds: {', '.join(missing)}.", _NONE_YET)


def _opinion(sample: Sample) -> Finding:
    part = f"lint {sample.name}"
    try:
        remarks = pkilint.unwaived(sample)
    except pkilint.Unreadable as error:
        return Finding(part, Verdict.WRONG, f"{sample.about}: pkilint cannot read it ({error}).", _TELL_US)
    if not remarks:
        return Finding(part, Verdict.OK, f"{sample.about}: nothing to object.")
    words = "; ".join(f"{one.code} at {one.node}: {one.message}" for one in remarks)
    return Finding(part, Verdict.WRONG, f"{sample.about}: {words}", _TELL_US)


def _table(findings: list[Finding]) -> str:
    width = max(len(finding.part) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.verdict.value]} {finding.part:<{width}} {finding.sentence}")
        if finding.mend:
            lines.append(f"  {'':<{width}} → {finding.mend}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command; `--json` for machines, `--lint` for samples of what was signed."""
    logs.to_standard_error()
    try:
        settings = Settings.load()
        findings = list(examine(settings))
        if "--lint" in sys.argv[1:] and any((f.part, f.verdict) == ("database", Verdict.OK) for f in findings):
            findings += judge(settings)
    except (Misconfigured, Refused) as error:
        findings = [Finding("configuration", Verdict.WRONG, str(error), "Mend remit.toml or the environment.")]
    show: Callable[[list[Finding]], str] = _table
    if "--json" in sys.argv[1:]:
        show = _json
    sys.stdout.write(show(findings))
    return 1 if any(finding.verdict is Verdict.WRONG for finding in findings) else 0


def _json(findings: list[Finding]) -> str:
    return json.dumps([asdict(finding) for finding in findings], indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
