from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import event, text

from ca.authority import hierarchy, infrastructure
from ca.authority.hierarchy import Foundation
from ca.identifiers import Serial
from ca.pki import keys
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import certificates, issuers, schema
from ca.store.issuers import IssuerRecord
from ca.store.status import Good, StatusReader
from ca.store.transaction import Database
from tests.ca.authority.stage import NAMES, START, STATUS_URL, Stage, new_key, run
from tests.memory_signer import MemorySigner


def find(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.ExtensionType | None:
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)


def test_the_root_signs_itself_and_the_issuing_ca(stage: Stage) -> None:
    root, issuing = stage.root.certificate, stage.issuer.certificate
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    assert find(root, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=None)
    assert find(issuing, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    assert root.not_valid_after_utc > issuing.not_valid_after_utc


def test_the_issuing_ca_is_constrained_to_the_trust_domain(stage: Stage) -> None:
    expected = x509.NameConstraints([x509.UniformResourceIdentifier("agents.example")], None)
    assert find(stage.issuer.certificate, x509.NameConstraints) == expected
    assert find(stage.root.certificate, x509.NameConstraints) is None


def test_names_carry_the_key_so_that_no_two_authorities_share_one(stage: Stage, tmp_path: Path) -> None:
    for issuer, title in ((stage.root, "Root CA"), (stage.issuer, "Issuing CA")):
        digits = keys.thumbprint(issuer.public_key).hex[:8]
        assert issuer.certificate.subject.rfc4514_string() == f"CN=agents.example {title} {digits},O=Remit"
    (tmp_path / "second").mkdir()
    second = Stage(tmp_path / "second")
    assert second.root.certificate.subject != stage.root.certificate.subject
    assert second.issuer.certificate.subject != stage.issuer.certificate.subject
    second.close()


def test_both_are_stored_good_and_audited(stage: Stage) -> None:
    reader = StatusReader(stage.url)
    serials = [Serial(one.certificate.serial_number) for one in (stage.root, stage.issuer)]
    assert reader.statuses("root-1", serials) == dict.fromkeys(serials, Good())
    assert [(one.id, one.kind) for one in reader.authorities()] == [("root-1", "root"), ("issuing-1", "issuing")]
    reader.close()
    assert {one.serial for one in stage.audited("certificate.issue")} == set(map(str, serials))


def test_what_is_loaded_is_what_was_made(stage: Stage) -> None:
    assert hierarchy.load(stage.database, STATUS_URL) == (stage.root, stage.issuer)
    with stage.database.read() as connection:
        record = certificates.by_serial(connection, Serial(stage.issuer.certificate.serial_number))
    assert record is not None
    assert record.der == stage.issuer.certificate.public_bytes(Encoding.DER)


def test_before_the_ceremony_there_is_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    schema.upgrade(url)
    database = Database(url)
    assert hierarchy.load(database, STATUS_URL) is None
    database.close()


def test_a_second_ceremony_is_refused_and_changes_nothing(stage: Stage) -> None:
    root, issuing = stage.signer.generate("root-1"), stage.signer.generate("issuing-1")
    with pytest.raises(Refused) as caught:
        hierarchy.establish(stage.foundation, root, issuing)
    assert caught.value.reason is Reason.CONFLICT
    assert hierarchy.load(stage.database, STATUS_URL) == (stage.root, stage.issuer)


def test_a_ceremony_that_dies_leaves_nothing_and_can_be_held_again(stage: Stage, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'again.db'}"
    schema.upgrade(url)
    database = Database(url)
    foundation = Foundation(database, stage.signer, NAMES, STATUS_URL, stage.clock, stage.foundation.random)
    event.listen(database._writer, "commit", _full, once=True)
    with pytest.raises(Refused):
        hierarchy.establish(foundation, stage.root.public_key, stage.issuer.public_key)
    assert hierarchy.load(database, STATUS_URL) is None
    made = hierarchy.establish(foundation, stage.root.public_key, stage.issuer.public_key)
    assert hierarchy.load(database, STATUS_URL) == made
    database.close()


def _full(_connection: object) -> None:
    raise OSError("disk full")


def test_pointers() -> None:
    root, issuing = (hierarchy.pointers(name, STATUS_URL) for name in (hierarchy.ROOT, hierarchy.ISSUING))
    assert root.list(0) == "http://status.example/crl/root-1.crl"
    assert root.ca_issuers == "http://status.example/ca/root-1.cer"
    assert issuing.list(1) == "http://status.example/crl/issuing-1/1.crl"
    assert root.ocsp == issuing.ocsp == "http://status.example/ocsp"


def test_the_issuing_ca_points_to_its_issuers_list(stage: Stage) -> None:
    points = find(stage.issuer.certificate, x509.CRLDistributionPoints)
    assert isinstance(points, x509.CRLDistributionPoints)
    [point] = points
    assert point.full_name == [x509.UniformResourceIdentifier("http://status.example/crl/root-1.crl")]
    assert find(stage.root.certificate, x509.CRLDistributionPoints) is None


def test_lifetimes(stage: Stage) -> None:
    for issuer, life in ((stage.root, hierarchy.ROOT_LIFETIME), (stage.issuer, hierarchy.ISSUING_LIFETIME)):
        certificate = issuer.certificate
        seconds = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert seconds == life + timedelta(seconds=59)


# Case 30: whoever knows a CA by its key or by its name must not meet another.


def _second(stage: Stage, **changes: object) -> IssuerRecord:
    made = IssuerRecord(
        "issuing-2", Kind.ISSUING, "issuing-2", stage.issuer.certificate.public_bytes(Encoding.DER), stage.clock()
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the fields are named in each test


def _ca(subject: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CA certificate of that name by that key, signed by itself."""
    name = x509.Name.from_rfc4514_string(subject)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, START, START + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def _added(stage: Stage, record: IssuerRecord) -> None:
    stage.database.write(lambda connection: issuers.add(connection, record)).result(10)


def test_one_key_for_both_cas_is_refused_before_anything_is_signed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    database, signer = Database(url), MemorySigner()
    foundation = Foundation(database, signer, NAMES, STATUS_URL, lambda: START, bytes)
    key = signer.generate("root-1")
    with pytest.raises(Refused, match="root-1 and issuing-1 have the same key") as caught:
        hierarchy.establish(foundation, key, key)
    assert caught.value.reason is Reason.CONFLICT
    assert signer.signed == []
    assert hierarchy.load(database, STATUS_URL) is None
    database.close()


def test_two_issuers_with_one_key_are_not_loaded(stage: Stage) -> None:
    assert hierarchy.load(stage.database, STATUS_URL)
    _added(stage, _second(stage))
    with pytest.raises(Refused, match="issuing-2 and issuing-1 have the same key"):
        hierarchy.load(stage.database, STATUS_URL)


@pytest.mark.parametrize(
    "spelling", [str, str.upper, lambda subject: subject.replace(" Issuing CA ", "  Issuing  CA ")]
)
def test_two_issuers_with_one_subject_are_not_loaded(stage: Stage, spelling: Callable[[str], str]) -> None:
    """RFC 5280 7.1: neither case nor white space tells two names apart."""
    common = stage.issuer.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    certificate = _ca(f"CN={spelling(str(common))},O=Remit", new_key())
    _added(stage, _second(stage, certificate=certificate))
    with pytest.raises(Refused, match="issuing-2 and issuing-1 have the same subject"):
        hierarchy.load(stage.database, STATUS_URL)


def test_another_key_and_name_are_another_issuer(stage: Stage) -> None:
    _added(stage, _second(stage, certificate=_ca("CN=agents.example Issuing CA 2,O=Remit", new_key())))
    assert hierarchy.load(stage.database, STATUS_URL)


@pytest.mark.parametrize("whose", ["root-1", "issuing-1"])
def test_a_responder_with_a_cas_key_is_not_loaded(stage: Stage, whose: str) -> None:
    """As a database would have it that something else wrote: nothing here makes one."""
    run(infrastructure.ensure_responder(stage.authority, stage.signer.generate("ocsp-1")))
    assert hierarchy.load(stage.database, STATUS_URL)
    key = keys.thumbprint({"root-1": stage.root, "issuing-1": stage.issuer}[whose].public_key)
    change = text("UPDATE certificates SET key_sha256 = :key WHERE kind = 'responder'")
    stage.database.write(lambda connection: connection.execute(change, {"key": key.digest})).result(10)
    with pytest.raises(Refused, match=f"{whose} and the OCSP responder have the same key"):
        hierarchy.load(stage.database, STATUS_URL)
