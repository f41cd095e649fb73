"""What did not succeed: one sentence for a person, and for a program what can be done about it."""

from __future__ import annotations

_WORTH_ANOTHER = (408, 425, 429)


class Failed(Exception):  # noqa: N818 (said to a person as it is)
    """A call that did not succeed: one sentence, and where the authority gave one the problem's type (RFC 9457).

    `status` is the answer's, 0 where there was none; `retry_after` is in seconds (RFC 9110 10.2.3).
    """

    def __init__(self, sentence: str, kind: str = "", *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    @property
    def final(self) -> bool:
        """Whether asking the same again soon is in vain: the request was understood and refused."""
        return 400 <= self.status < 500 and self.status not in _WORTH_ANOTHER
