"""What stands in a gateway's headers: tables of what is one certificate and what is not, and every octet there is."""

from __future__ import annotations

import time
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ca.hook import headers
from ca.hook.headers import MAX_OCTETS, Form
from ca.refusals import Reason, Refused

DER = bytes(range(256)) * 3
HASH = sha256(DER).hexdigest()
OTHER = "0" * 64
BASE64 = b64encode(DER).decode()
PEM = "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n".format(
    "".join(f"{BASE64[at : at + 64]}\n" for at in range(0, len(BASE64), 64))
)
ESCAPED = quote(PEM, safe="")


def digest(form: Form, value: str | bytes) -> str:
    octets = value.encode("latin-1") if isinstance(value, str) else value
    return headers.certificate(form, octets).x5t.hex


def is_refused(form: Form, value: str | bytes) -> bool:
    with pytest.raises(Refused) as caught:
        digest(form, value)
    return caught.value.reason is Reason.MALFORMED


GOOD = {
    "RFC 9440": (Form.RFC9440, f":{BASE64}:"),
    "RFC 9440 within spaces": (Form.RFC9440, f" :{BASE64}: "),
    "nginx": (Form.ESCAPED_PEM, ESCAPED),
    "nginx, all of it escaped": (Form.ESCAPED_PEM, "".join(f"%{ord(one):02x}" for one in PEM)),
    "nginx, without the last line's end": (Form.ESCAPED_PEM, quote(PEM.strip(), safe="")),
    "nginx, lines of Windows": (Form.ESCAPED_PEM, quote(PEM.replace("\n", "\r\n"), safe="")),
    "a hash": (Form.XFCC, f"Hash={HASH}"),
    "a hash in capitals": (Form.XFCC, f"hash={HASH.upper()}"),
    "a certificate": (Form.XFCC, f'Cert="{ESCAPED}"'),
    "both": (Form.XFCC, f'By=spiffe://a/b;Hash={HASH};Cert="{ESCAPED}";Subject="";URI=spiffe://a/c'),
    "a comma in quotes": (Form.XFCC, f'Subject="CN=a,OU=b;Hash={OTHER}";Hash={HASH}'),
    "a quotation in quotes": (Form.XFCC, rf'Hash={HASH};Subject="CN=\"x\",Hash={OTHER}"'),
    "a backslash at the end of a quotation": (Form.XFCC, rf'Subject="CN=x\\";Hash={HASH}'),
    "the last element": (Form.XFCC, f"Hash={OTHER},Hash={HASH}"),
    "the last element, the first one with quotes": (Form.XFCC, f'Hash={OTHER};Subject="a,b", By=x;Hash={HASH}'),
    "many URIs": (Form.XFCC, f"URI=a;URI=b;Hash={HASH}"),
}


@pytest.mark.parametrize(("form", "value"), GOOD.values(), ids=GOOD.keys())
def test_one_certificate(form: Form, value: str) -> None:
    assert digest(form, value) == HASH


BAD = {
    "nothing": (Form.RFC9440, ""),
    "bare base64": (Form.RFC9440, BASE64),
    "nothing between the colons": (Form.RFC9440, "::"),
    "two": (Form.RFC9440, f":{BASE64}:, :{BASE64}:"),
    "a parameter": (Form.RFC9440, f":{BASE64}:;a=1"),
    "no padding": (Form.RFC9440, ":QQ:"),
    "base64url": (Form.RFC9440, ":_-_-:"),
    "NUL": (Form.RFC9440, f":{BASE64}\0:"),
    "a line's end": (Form.RFC9440, f":{BASE64}:\n"),
    "PEM where RFC 9440 is due": (Form.RFC9440, ESCAPED),
    "RFC 9440 where PEM is due": (Form.ESCAPED_PEM, f":{BASE64}:"),
    "PEM as it is": (Form.ESCAPED_PEM, PEM),
    "two in PEM": (Form.ESCAPED_PEM, ESCAPED * 2),
    "something before": (Form.ESCAPED_PEM, f"x{ESCAPED}"),
    "something behind": (Form.ESCAPED_PEM, f"{ESCAPED}x"),
    "escaped twice": (Form.ESCAPED_PEM, quote(ESCAPED, safe="")),
    "half an escape": (Form.ESCAPED_PEM, f"{ESCAPED[:-1]}%"),
    "an escape of no digits": (Form.ESCAPED_PEM, ESCAPED.replace("%0A", "%0G")),
    "an escaped NUL": (Form.ESCAPED_PEM, ESCAPED.replace("%0A", "%00", 1)),
    "a plus that was a space": (Form.ESCAPED_PEM, quote(PEM.replace("CERTIFICATE", "CERT IFICATE"), safe="")),
    "a key": (Form.ESCAPED_PEM, quote(PEM.replace("CERTIFICATE", "PRIVATE KEY"), safe="")),
    "an empty PEM": (Form.ESCAPED_PEM, quote("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", safe="")),
    "no pairs": (Form.XFCC, HASH),
    "no hash": (Form.XFCC, "By=spiffe://a/b"),
    "a hash in the first element alone": (Form.XFCC, f"Hash={HASH},By=x"),
    "a hash in quotes alone": (Form.XFCC, f'Subject="Hash={HASH}"'),
    "two hashes": (Form.XFCC, f"Hash={OTHER};Hash={HASH}"),
    "two certificates": (Form.XFCC, f'Cert="{ESCAPED}";cert="{ESCAPED}"'),
    "a hash of another": (Form.XFCC, f'Hash={OTHER};Cert="{ESCAPED}"'),
    "a short hash": (Form.XFCC, f"Hash={HASH[:-2]}"),
    "a hash with colons": (Form.XFCC, f"Hash={':'.join(HASH[at : at + 2] for at in range(0, 64, 2))}"),
    "a quotation without end": (Form.XFCC, f'Hash={HASH};Subject="a'),
    "a quotation whose end is escaped": (Form.XFCC, rf'Hash={HASH};Subject="a\"'),
    "something behind a quotation": (Form.XFCC, f'Subject="a"b;Hash={HASH}'),
    "a quotation within a value": (Form.XFCC, f'Subject=a"b";Hash={HASH}'),
    "a semicolon at the end": (Form.XFCC, f"Hash={HASH};"),
    "a comma at the end": (Form.XFCC, f"Hash={HASH},"),
    "an empty element": (Form.XFCC, f"Hash={HASH},,Hash={HASH}"),
    "XFCC with NUL": (Form.XFCC, f"Hash={HASH};By=\0"),
    "XFCC with a tabulator": (Form.XFCC, f"Hash={HASH};\tBy=x"),
    "not ASCII": (Form.XFCC, f"Hash={HASH};By=\xff"),
    "64 KiB": (Form.XFCC, f"Hash={HASH};By={'x' * (64 * 1024)}"),
    "64 KiB of base64": (Form.RFC9440, f":{'A' * (64 * 1024)}:"),
}


@pytest.mark.parametrize(("form", "value"), BAD.values(), ids=BAD.keys())
def test_everything_else_is_malformed(form: Form, value: str) -> None:
    assert is_refused(form, value)


@given(form=st.sampled_from(Form), value=st.binary(max_size=400))
@example(form=Form.XFCC, value=b'="')
@example(form=Form.XFCC, value=b"\\")
def test_whatever_is_sent_is_a_certificate_or_refused(form: Form, value: bytes) -> None:
    with suppress(Refused):
        assert len(digest(form, value)) == 64


@given(der=st.binary(min_size=1, max_size=300))
def test_the_forms_agree(der: bytes) -> None:
    plain = b64encode(der).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{plain[:64]}\n{plain[64:128]}\n{plain[128:]}\n-----END CERTIFICATE-----\n"
    escaped = quote(pem.replace("\n\n", "\n").replace("\n\n", "\n"), safe="")
    expected = sha256(der).hexdigest()
    spellings = {Form.RFC9440: f":{plain}:", Form.XFCC: f"Hash={expected}"}
    if len(plain) % 4 == 0 and len(plain) <= 64 * 2 + 76:
        spellings[Form.ESCAPED_PEM] = escaped
    for form, value in spellings.items():
        assert digest(form, value) == expected


QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@given(subject=QUOTED, before=QUOTED)
def test_nothing_that_is_quoted_gets_out_of_its_quotes(subject: str, before: str) -> None:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"')

    value = f'Subject="{quoted(before)}";Hash={OTHER},Subject="{quoted(subject)}";Hash={HASH}'
    assert digest(Form.XFCC, value) == HASH


@pytest.mark.parametrize(
    "value",
    [
        b'Subject="' + b"\\" * (MAX_OCTETS - 20),
        b'A="' + b'",A="' * (MAX_OCTETS // 5 - 2),
        b"A=" + b" " * (MAX_OCTETS - 2),
        b"A=,A=" * (MAX_OCTETS // 5),
        b"A" * MAX_OCTETS,
    ],
)
def test_what_is_hostile_costs_little(value: bytes) -> None:
    began = time.process_time()
    for form in Form:
        with suppress(Refused):
            headers.certificate(form, value)
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"tools/call", "tools/call"),
        (b" read_file\t", "read_file"),
        (b"two words", "two words"),
        (b"=?base64?cmVhZF9maWxl?=", "read_file"),
        (b"=?base64?w6TDtsO8?=", "äöü"),
        (b"=?base64??=", ""),
    ],
)
def test_a_word_of_the_call(value: bytes, expected: str) -> None:
    assert headers.word(value) == expected


@pytest.mark.parametrize("value", [b"", b" ", b"a\nb", b"a\0", b"\xc3\xa4", b"=?base64?!?=", b"=?base64?/w==?="])
def test_what_is_no_word(value: bytes) -> None:
    with pytest.raises(Refused):
        headers.word(value)
