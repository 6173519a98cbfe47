"""What one task execution may still spend, when several of its calls run at once."""

from __future__ import annotations

from threading import Lock


class Purse:
    """Money of one task execution, in nano-USD: what is spent and what running calls hold.

    A call holds its worst case before it starts, so that calls side by side can't promise the same money twice.

        >>> purse = Purse()
        >>> purse.hold(40, limit=100), purse.hold(90, limit=100)
        (40, 60)
        >>> purse.settle(held=40, cost=25)
        >>> purse.left(100), purse.spent
        (15, 25)
    """

    __slots__ = ("_held", "_lock", "_spent")

    def __init__(self) -> None:
        self._lock = Lock()
        self._spent = 0
        self._held = 0

    @property
    def spent(self) -> int:
        return self._spent

    def left(self, limit: int) -> int:
        """What a new call may count on."""
        return max(0, limit - self._spent - self._held)

    def hold(self, worst: int, *, limit: int) -> int:
        """Set aside `worst`, or what is left of `limit`; returns what was set aside."""
        with self._lock:
            granted = min(worst, self.left(limit))
            self._held += granted
            return granted

    def settle(self, *, held: int, cost: int) -> None:
        """Give back what a call held and book what it cost."""
        with self._lock:
            self._held -= held
            self._spent += cost
