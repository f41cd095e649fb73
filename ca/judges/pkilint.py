"""pkilint over a sample, and which of its findings are waived.

pkilint is the optional extra `lint`: a large program with parsers of its own, which no service needs.
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

from ca.judges.samples import Form, Sample

_LINTERS: Mapping[Form, tuple[str, ...]] = {
    Form.CERTIFICATE: ("lint_pkix_cert",),
    Form.CHAIN: ("lint_pkix_signer_signee_cert_chain",),
    Form.ROOT_CRL: ("lint_crl", "-t", "ARL", "-p", "PKIX"),
    Form.CRL: ("lint_crl", "-t", "CRL", "-p", "PKIX"),
    Form.OCSP: ("lint_ocsp_response",),
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding of pkilint at warning level or above: where, which, and its words."""

    node: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """Remarks that are let pass on the samples of these names; `*` in node and message stands for anything."""

    objects: tuple[str, ...]
    code: str
    node: str
    message: str
    reason: str

    def covers(self, name: str, remark: Remark) -> bool:
        """Whether this remark on a sample of this name is let pass."""
        return (
            name in self.objects
            and remark.code == self.code
            and fnmatchcase(remark.node, self.node)
            and fnmatchcase(remark.message, self.message)
        )


class Unreadable(Exception):  # noqa: N818 (a verdict: not even pkilint's parser takes it)
    """pkilint could not load the sample; its words say why."""


def is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("pkilint") is not None


def waivers() -> list[Waiver]:
    """Those in `pkilint_waivers.toml`, each with its reason."""
    text = Path(__file__).with_name("pkilint_waivers.toml").read_text("utf-8")
    return [Waiver(**{**one, "objects": tuple(one["objects"])}) for one in tomllib.loads(text)["waiver"]]


def remarks(sample: Sample) -> list[Remark]:
    """Everything that pkilint says of it at warning level or above, waived or not. Raises `Unreadable`."""
    linter, *options = _LINTERS[sample.form]
    program = importlib.import_module(f"pkilint.bin.{linter}")
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as complaint:
        files = [Path(folder, str(number)) for number in range(len(sample.ders))]
        for file, der in zip(files, sample.ders, strict=True):
            file.write_bytes(der)
        with catch_warnings():
            simplefilter("ignore", ResourceWarning)  # It leaves the files that it opened to the collector.
            program.main(["lint", *options, *map(str, files), "-s", "WARNING", "-f", "JSON"])
    if not said.getvalue():
        raise Unreadable(complaint.getvalue().strip())
    return [
        Remark(result["node_path"], found["code"], found["message"] or "")
        for result in json.loads(said.getvalue())["results"]
        for found in result["finding_descriptions"]
    ]


def unwaived(sample: Sample) -> list[Remark]:
    """What no waiver covers. Raises `Unreadable`."""
    let_pass = waivers()
    return [one for one in remarks(sample) if not any(waiver.covers(sample.name, one) for waiver in let_pass)]
