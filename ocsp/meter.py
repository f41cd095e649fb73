"""How often the signer is used for answers that no cache can hold."""

from __future__ import annotations

from collections.abc import Callable


class Meter:
    """A token bucket: `rate` a second, `burst` at once. `clock` counts seconds and never goes back."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level = burst
        self._at = clock()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True
