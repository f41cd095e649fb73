"""nginx with `ssl_verify_client on`: by OCSP, by OCSP with its cache, and by a CRL file and a reload."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tests.interop.delays.client import run, tool
from tests.interop.delays.commands import PUBLICATION, VIEW
from tests.interop.delays.door import HOST, Door

VALIDITY = 5
"""Seconds that an OCSP answer holds in the world of this measurement."""

PUSH = "how often the bundle is carried to the server, here every 50 ms"


class Nginx(Door):
    """It tells a client that it refuses why, so that only a revocation counts as one."""

    name = "nginx"
    checks: ClassVar[str] = ""

    def command(self) -> list[str | Path]:
        folder, file = self.folder, self.folder / "nginx.conf"
        scratch = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        file.write_text(
            f"pid {folder}/pid; error_log {folder}/server.log; daemon off; events {{}}\n"
            + f"http {{ access_log off; server {{ listen {HOST}:{self.port} ssl;\n"
            + f" ssl_certificate {self.certificate}; ssl_certificate_key {self.key};\n"
            + f" ssl_client_certificate {self.trust.root}; ssl_verify_client on; ssl_verify_depth 2;\n"
            + f" {self.checks.format(folder=folder)}\n"
            + " error_page 495 = @refused; location @refused { return 403 $ssl_client_verify; }\n"
            + " location / { return 200; } }\n"
            + "".join(f" {name}_temp_path {folder}/{name};\n" for name in scratch)
            + "}\n"
        )
        self.nginx: list[str | Path] = [tool("nginx (Debian: nginx-light)", "nginx"), "-p", folder, "-c", file]
        return self.nginx


class NginxOcsp(Nginx):
    mechanism, bound, seconds = "`ssl_ocsp leaf`", "the responder, asked at each new connection", VIEW
    checks = "ssl_ocsp leaf;"


class NginxOcspCache(Nginx):
    mechanism = "`ssl_ocsp leaf`, `ssl_ocsp_cache`"
    bound = f"the life of an answer, `status.ocsp_validity`: here {VALIDITY} s, 60 s by default"
    seconds = VALIDITY + VIEW
    checks = "ssl_ocsp leaf; ssl_ocsp_cache shared:ocsp:1m;"


class NginxCrl(Nginx):
    mechanism, bound, seconds = "`ssl_crl`, `nginx -s reload`", PUSH, PUBLICATION
    checks = "ssl_crl {folder}/bundle.pem;"

    def command(self) -> list[str | Path]:
        self.bundle = self.trust.bundle()
        self._write()
        return super().command()

    def accepts(self) -> bool:
        if (bundle := self.trust.bundle()) != self.bundle:
            self.bundle = bundle
            self._write()
            run(*self.nginx, "-s", "reload")
        return super().accepts()

    def _write(self) -> None:
        (self.folder / "bundle.pem").write_bytes(self.bundle)
