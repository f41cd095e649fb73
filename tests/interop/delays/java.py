"""Java: one JVM that validates again and again, as a server does; the program is ../Verify.java."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.interop.delays.client import Client, Missing, run, tool, verdict
from tests.interop.delays.commands import ANSWER, PUBLICATION, VIEW

PROGRAM = Path(__file__).parent.parent / "Verify.java"
INSTALL = "a JDK of version 17 or later (Debian: default-jdk-headless, Homebrew: openjdk)"
KEPT = 30.0
"""Seconds for which the JDK keeps a fetched CRL before it asks again; no property changes it."""


class Java(Client):
    """PKIX without falling back to another source and without passing over an unknown status."""

    name = "Java PKIX"
    source = ""
    properties: tuple[str, ...] = ()

    def prepare(self) -> None:
        java = tool(INSTALL, "java")
        # Running a source file needs the compiler, which neither a runtime alone nor macOS's stub has.
        if "jdk.compiler" not in run(java, "--list-modules"):
            raise Missing(f"{java} cannot run a source file; install {INSTALL}")
        command = [java, *self.properties, PROGRAM, self.source, self.trust.root, self.agent.subject.presented]
        pipe = subprocess.PIPE
        jvm = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.ends.enter_context(jvm)
        # Told nothing more, it ends; the pipe is closed before it is waited for.
        assert jvm.stdin is not None
        assert jvm.stdout is not None
        self.ask, self.said = jvm.stdin, jvm.stdout
        assert self.said.readline() == "accepted\n"

    def accepts(self) -> bool:
        self.ask.write("\n")
        self.ask.flush()
        return verdict(self.said.readline(), accepted="accepted", revoked="refused REVOKED: ")


class JavaOcsp(Java):
    mechanism, bound, seconds, source = "`PKIXRevocationChecker`, OCSP", ANSWER, VIEW, "ocsp"


class JavaCrl(Java):
    """By the list that the certificate names, which the JDK follows only when it is told to."""

    mechanism = "`PKIXRevocationChecker`, CRL of the distribution point"
    bound = "the 30 s for which a JVM keeps a list, which no property changes"
    seconds = KEPT + PUBLICATION
    pause = 0.25
    source, properties = "crl", ("-Dcom.sun.security.enableCRLDP=true",)
