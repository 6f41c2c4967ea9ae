"""Whether a hub still hears: its own signs of life and echoes, there and back through the channel layer.

Rules kept here:

- A hub that does not hear itself does not judge others: it may be the one that is cut off.
- Whatever comes is a sign that its channel is heard; behind a flood the own signs take their time.

No clock and no layer: callers pass the time.
"""

__all__ = ["Liveness"]

# How late an own sign of life may come back, in seconds, before something is wrong.
_LATE = 1.0
# Of so many echoes under way at most a hub remembers when they were sent.
_REMEMBERED_ECHOES = 100


class Liveness:
    """What one hub sends to itself, and when it heard something last.

    Args:
        hears_rooms: whether it has a channel for room traffic, and sends itself echoes there.
    """

    def __init__(self, *, hears_rooms: bool) -> None:
        self._hears_rooms = hears_rooms
        self._beat = 0
        self._beat_back = 0
        self._echo = 0
        self._echo_sent_at: dict[int, float] = {}
        self._traffic_at = 0.0
        self._control_at = 0.0
        self._hears_since: float | None = None
        self.echoed_at = 0.0  # when the last echo that came back was sent

    def restart(self, now: float) -> None:
        """Count from now: nothing could come until now."""
        self._traffic_at = self._control_at = now

    def next_beat(self) -> int:
        """Return the number of the next sign of life."""
        self._beat += 1
        return self._beat

    def next_echo(self, now: float) -> int:
        """Return the number of the next echo, which is about to be sent."""
        self._echo += 1
        self._echo_sent_at[self._echo] = now
        self._echo_sent_at.pop(self._echo - _REMEMBERED_ECHOES, None)
        return self._echo

    def record_traffic(self, now: float) -> None:
        """Take note that something came on the channel for room traffic."""
        self._traffic_at = now

    def record_control(self, now: float) -> None:
        """Take note that something came through the group where all hubs are."""
        self._control_at = now
        if self._hears_since is None:
            self._hears_since = now

    def record_beat(self, number: int) -> None:
        """Take note of an own sign of life that came back."""
        self._beat_back = max(self._beat_back, number)

    def record_echo(self, number: int) -> None:
        """Take note of an echo that came back."""
        self.echoed_at = max(self.echoed_at, self._echo_sent_at.pop(number, 0.0))

    def has_received(self, beat: int) -> bool:
        """Whether a sign of life of this number, or a later one, came back."""
        return self._beat_back >= beat

    def last_echo_at(self) -> float:
        """Return when the last echo was sent that is still under way."""
        return max(self._echo_sent_at.values(), default=0.0)

    def silent_for(self, now: float) -> float:
        """Return for how many seconds one of its channels has brought nothing."""
        return now - (min(self._traffic_at, self._control_at) if self._hears_rooms else self._control_at)

    def is_deaf(self, now: float, interval: float) -> bool:
        """Whether nothing comes, not even what it sends to itself every ``interval`` seconds."""
        return self.silent_for(now) > interval + _LATE

    def record_deafness(self) -> None:
        """Take note that the hub hears nothing, so that hears_for() begins anew."""
        self._hears_since = None

    def hears_for(self, now: float) -> float:
        """Return for how many seconds it has heard without a pause; 0 where it does not."""
        return 0.0 if self._hears_since is None else now - self._hears_since
