from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.proofs import addresses
from ca.proofs.addresses import Inside, Location, NotAllowed

GOOD = {
    "https://ok.example": ("ok.example", 443, ""),
    "https://ok.example/": ("ok.example", 443, "/"),
    "https://ok.example:8443/realms/a": ("ok.example", 8443, "/realms/a"),
    "https://token.actions.githubusercontent.com": ("token.actions.githubusercontent.com", 443, ""),
    "https://login.example/x/discovery/keys?p=b2c_1": ("login.example", 443, "/x/discovery/keys?p=b2c_1"),
    "https://kubernetes": ("kubernetes", 443, ""),
    "https://xn--bcher-kva.example/a%20b": ("xn--bcher-kva.example", 443, "/a%20b"),
    "https://93.184.216.34/": ("93.184.216.34", 443, "/"),
    "https://[2606:2800:220:1::1]:1/k": ("2606:2800:220:1::1", 1, "/k"),
}


@pytest.mark.parametrize(("text", "parts"), GOOD.items())
def test_a_plain_url_is_taken_apart(text: str, parts: tuple[str, int, str]) -> None:
    location = Location.parse(text)
    assert (location.host, location.port, location.target) == parts


TRICKS = [
    "",
    "https://",
    "http://ok.example",
    "HTTPS://ok.example",
    "ftp://ok.example",
    "file:///etc/passwd",
    "https:ok.example",
    "https:/ok.example",
    "https:///ok.example",
    "https://ok@evil.example",
    "https://ok:secret@evil.example",
    "https://ok.example\\@evil.example",
    "https://ok.example\\.evil.example",
    "https://ok.example#@evil.example",
    "https://ok.example/#x",
    "https://ok.example%00.evil.example",
    "https://ok.example%2eevil.example",
    "https://ok.example.",
    "https://.ok.example",
    "https://ok..example",
    "https://-ok.example",
    "https://OK.example",
    "https://ok_.example",
    "https://\u0431ank.example",
    "https://ok。example",
    "https://①27.0.0.1",
    "https://ok.example\t",
    "https://ok.example\n",
    " https://ok.example",
    "https://ok.example /",
    "https://ok.example:0",
    "https://ok.example:00443",
    "https://ok.example:65536",
    "https://ok.example:",
    "https://ok.example:443:443",
    "https://ok.example:443@evil.example",
    "https://ok.example/..",
    "https://ok.example/a/../b",
    "https://ok.example/./b",
    "https://ok.example/%2E%2E/b",
    "https://ok.example/%2e%2e/b",
    "https://ok.example/a%2",
    "https://ok.example/{tenant}",
    "https://ok.example/\u202e",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://127.0.0.1.5/",
    "https://0177.0.0.1/",
    "https://127.000.0.1/",
    "https://1.2.3/",
    "https://[::1",
    "https://::1/",
    "https://[::1%25lo]/",
    "https://[fe80::1%eth0]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::FFFF:127.0.0.1]/",
    "https://[127.0.0.1]/",
    "https://" + "a" * 64 + ".example",
    "https://" + "a." * 126 + "ab" * 10,
    "https://ok.example/" + "a" * 1024,
]


@pytest.mark.parametrize("text", TRICKS)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(NotAllowed):
        Location.parse(text)


@given(st.text(max_size=60) | st.from_regex(r"https://[ -~]{1,40}", fullmatch=True))
def test_whatever_is_taken_says_itself_again(text: str) -> None:
    try:
        location = Location.parse(text)
    except NotAllowed:
        return
    assert text in {
        f"https://{location.authority}{location.target}",
        f"https://{location.authority}:443{location.target}",
    }


PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_inside_or_special_is_not_asked(text: str) -> None:
    with pytest.raises(NotAllowed, match="private or special"):
        Inside().check("ok.example", ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_outside_is(text: str) -> None:
    Inside().check("ok.example", ip_address(text))


@given(st.ip_addresses())
def test_what_the_library_calls_private_is_never_asked(one: IPv4Address | IPv6Address) -> None:
    """A second opinion: Python's own tables may only be narrower."""
    try:
        Inside().check("ok.example", one)
    except NotAllowed:
        return
    assert one.is_global
    assert not one.is_multicast


@given(st.ip_addresses(v=4))
def test_no_address_of_version_4_passes_wrapped_in_one_of_version_6(one: IPv4Address) -> None:
    number = int(one)
    for wrapped in (
        number,
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),
    ):
        with pytest.raises(NotAllowed):
            Inside().check("ok.example", IPv6Address(wrapped))


@pytest.mark.parametrize(
    ("named", "host", "address", "allowed"),
    [
        (["10.1.0.0/16"], "a.example", "10.1.2.3", True),
        (["10.1.0.0/16"], "a.example", "10.2.2.3", False),
        (["169.254.169.254"], "a.example", "169.254.169.254", True),
        (["::ffff:0:0/96"], "a.example", "::ffff:10.0.0.1", True),
        (["fd00::/8"], "a.example", "fd12::1", True),
        (["k8s.internal"], "k8s.internal", "10.1.2.3", True),
        (["k8s.internal"], "k8s.internal", "127.0.0.1", True),
        (["k8s.internal"], "k8s.internal", "fd12::1", True),
        (["k8s.internal"], "other.internal", "10.1.2.3", False),
        (["k8s.internal"], "k8s.internal", "169.254.169.254", False),
        (["k8s.internal"], "k8s.internal", "224.0.0.1", False),
        (["k8s.internal"], "k8s.internal", "0.0.0.0", False),
        (["k8s.internal"], "k8s.internal", "::ffff:10.0.0.1", False),
    ],
)
def test_what_is_named_may_be_asked(named: list[str], host: str, address: str, allowed: bool) -> None:
    inside = Inside.parse(named)
    if allowed:
        inside.check(host, ip_address(address))
        return
    with pytest.raises(NotAllowed):
        inside.check(host, ip_address(address))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "K8S.internal", "a b", "", "https://a", "fe80::1%eth0"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(NotAllowed):
        Inside.parse([text])


@pytest.mark.parametrize("text", ["fe80::1%lo", "issuer.test", "", "1.2.3"])
def test_a_resolver_gives_plain_addresses(text: str) -> None:
    with pytest.raises(NotAllowed):
        addresses.address(text)


@pytest.mark.parametrize(
    ("url", "address", "there", "authority"),
    [
        ("https://a.example/k", "93.184.216.34", "https://93.184.216.34:443/k", "a.example"),
        ("https://a.example:8443", "2606:4700::1", "https://[2606:4700::1]:8443", "a.example:8443"),
        ("https://[2606:4700::1]:1/", "2606:4700::1", "https://[2606:4700::1]:1/", "[2606:4700::1]:1"),
    ],
)
def test_the_address_takes_the_names_place(url: str, address: str, there: str, authority: str) -> None:
    location = Location.parse(url)
    assert location.at(ip_address(address)) == there
    assert location.authority == authority
