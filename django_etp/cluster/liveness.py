"""Detect that a node no longer receives its own heartbeats and echoes.

Rules kept here:

- A node that does not receive its own messages does not judge others: it may be the one that is cut off.
- Any message proves that its channel is read; behind a flood the node's own take their time.

No clock and no layer: callers pass the time.
"""

__all__ = ["Liveness"]

# How late an own heartbeat may come back, in seconds, before something is wrong.
_LATE = 1.0
# A node remembers of this many heartbeats, and echoes, when they were sent.
_REMEMBERED = 100
# Heartbeats come more often than this; after a longer silence, in seconds, a node may have missed something.
_SILENCE = 3.0


class Liveness:
    """The messages that one node sends to itself, and when it last received anything.

    Args:
        receives_rooms: whether the node has a channel for room traffic, and sends itself echoes there.
    """

    def __init__(self, *, receives_rooms: bool) -> None:
        self.receives_rooms = receives_rooms
        self._beat = 0
        self._beat_sent_at: dict[int, float] = {}
        self._beat_back = 0
        self._echo = 0
        self._echo_back = 0
        self._echo_sent_at: dict[int, float] = {}
        self._lag = 0.0
        self._traffic_at = 0.0
        self._control_at = 0.0
        # When the broker first took an own message since then; 0 if it has taken none.
        self._echo_taken_at = 0.0
        self._beat_taken_at = 0.0
        self._receives_since: float | None = None
        self._heard_at: float | None = None
        self._silence = 0.0
        self.echoed_at = 0.0  # when the last echo that came back was sent
        self.returned_at = 0.0  # when the last heartbeat that came back was sent

    def restart(self, now: float) -> None:
        """Count from now: nothing could arrive until now."""
        self._traffic_at = self._control_at = now
        self.expect_nothing()

    def expect_nothing(self) -> None:
        """Expect back none of the messages that the broker has taken until now: the channels are new ones."""
        self._echo_taken_at = self._beat_taken_at = 0.0

    def next_beat(self, now: float) -> int:
        """Return the number of the next heartbeat, which is about to be sent."""
        self._beat += 1
        self._beat_sent_at[self._beat] = now
        self._beat_sent_at.pop(self._beat - _REMEMBERED, None)
        return self._beat

    def next_echo(self, now: float) -> int:
        """Return the number of the next echo, which is about to be sent."""
        self._echo += 1
        self._echo_sent_at[self._echo] = now
        self._echo_sent_at.pop(self._echo - _REMEMBERED, None)
        return self._echo

    def record_traffic(self, now: float) -> None:
        """Record that a message arrived on the channel for room traffic."""
        self._traffic_at = now
        self._echo_taken_at = 0.0

    def record_control(self, now: float) -> None:
        """Record that a message arrived through the group of all nodes."""
        self._control_at = now
        self._beat_taken_at = 0.0
        if self._heard_at is not None and now - self._heard_at > _SILENCE:
            self._silence = max(self._silence, now - self._heard_at)
        self._heard_at = now
        if self._receives_since is None:
            self._receives_since = now

    def record_beat(self, number: int) -> None:
        """Record an own heartbeat that came back."""
        self._beat_back = max(self._beat_back, number)
        self.returned_at = max(self.returned_at, self._beat_sent_at.pop(number, 0.0))

    def record_echo(self, number: int, now: float) -> None:
        """Record an echo that came back."""
        sent_at = self._echo_sent_at.pop(number, 0.0)
        self.echoed_at = max(self.echoed_at, sent_at)
        if sent_at and number > self._echo_back:
            self._echo_back, self._lag = number, now - sent_at

    def lag(self, now: float) -> float:
        """Return for how many seconds the last echo was under way; if a later one has been for longer, for how many."""
        under_way = [at for number, at in self._echo_sent_at.items() if number > self._echo_back]
        return max([self._lag, *(now - at for at in under_way)])

    def record_echo_taken(self, number: int, now: float) -> None:
        """Record that the broker has taken an echo, which may be back already."""
        if number in self._echo_sent_at:
            self._echo_taken_at = self._echo_taken_at or now

    def record_beat_taken(self, number: int, now: float) -> None:
        """Record that the broker has taken a heartbeat, which may be back already."""
        if number > self._beat_back:
            self._beat_taken_at = self._beat_taken_at or now

    def has_received(self, beat: int) -> bool:
        """Whether an own heartbeat with this number, or a later one, came back."""
        return self._beat_back >= beat

    def last_echo_at(self) -> float:
        """Return when the last echo was sent that is still under way."""
        return max(self._echo_sent_at.values(), default=0.0)

    def silent_for(self, now: float) -> float:
        """Return for how many seconds one of the node's channels has brought nothing."""
        return now - (min(self._traffic_at, self._control_at) if self.receives_rooms else self._control_at)

    def take_silence(self) -> float:
        """Return for how many seconds no control message arrived, once, after they arrive again; mostly 0."""
        silence, self._silence = self._silence, 0.0
        return silence

    def unheard_for(self, now: float) -> float:
        """Return for how many seconds the broker has an own message, since which one of the channels brought nothing.

        It is 0 if the broker has none.
        """
        return max(now - at if at else 0.0 for at in (self._echo_taken_at, self._beat_taken_at))

    def is_deaf(self, now: float, interval: float) -> bool:
        """Whether nothing arrives, not even the messages that the node sends to itself every ``interval`` seconds."""
        return self.silent_for(now) > interval + _LATE

    def record_deafness(self) -> None:
        """Record that the node receives nothing, so that receives_for() begins anew."""
        self._receives_since = None

    def receives_for(self, now: float) -> float:
        """Return for how many seconds the node has received messages without a pause; 0 if it receives none."""
        return 0.0 if self._receives_since is None else now - self._receives_since
