"""stunnel with `OCSPaia`: it asks the responder that the certificate names, at each full handshake."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from tests.interop.delays.client import tool
from tests.interop.delays.commands import VIEW
from tests.interop.delays.door import HOST, Door


class Stunnel(Door):
    """In front of the status service itself, for want of anything better to guard."""

    name, mechanism, seconds = "stunnel", "`verifyChain`, `OCSPaia`", VIEW
    bound = "the responder, asked at each full handshake"
    path = "/healthz"
    settings: ClassVar[str] = ""

    def command(self) -> list[str | Path]:
        file = self.folder / "stunnel.conf"
        file.write_text(
            f"foreground = yes\npid =\n[door]\naccept = {HOST}:{self.port}\n"
            + f"connect = {urlsplit(self.trust.root_url).netloc}\ncert = {self.certificate}\nkey = {self.key}\n"
            + f"CAfile = {self.trust.both}\nverifyChain = yes\nOCSPaia = yes\n{self.settings}"
        )
        return [tool("stunnel (Debian: stunnel4, Homebrew: stunnel)", "stunnel"), file]


class StunnelWithoutResumption(Stunnel):
    mechanism, settings = "the same, `sessionResume = no`", "sessionResume = no\n"
