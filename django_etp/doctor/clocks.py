"""How far the clock of another process is off, as far as a question and its answer show it."""

from collections.abc import Iterable

from .findings import Finding, failure, ok, warning

__all__ = ["check_clocks", "skew"]

# In seconds. RedisChannelLayer sorts messages by the clocks of their senders, and drops those that look too old.
_NOTICEABLE = 1.0
_HARMFUL = 5.0


def skew(asked_at: float, answered_at: float, clock: float) -> float:
    """Return how many seconds a clock is ahead of this process's own, at least; negative if it is behind.

    ``clock`` is a reading of that clock. Between ``asked_at`` and ``answered_at`` it is not off.
    """
    if clock > answered_at:
        return clock - answered_at
    return min(0.0, clock - asked_at)


def check_clocks(skews: Iterable[tuple[str, float]]) -> Finding:
    """Judge how far clocks are off; each comes with the name of its process."""
    expected = f"clocks within {_NOTICEABLE:g} s of the clock of this machine"
    named = [(name, seconds) for name, seconds in skews if abs(seconds) > _NOTICEABLE]
    if not named:
        return ok("clocks", expected, "all are")
    came = "; ".join(
        f"{name} is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}" for name, seconds in named
    )
    remedy = (
        "Synchronize the clocks of all machines, this one included, with NTP. Sessions and tokens expire by the clock, "
        "and RedisChannelLayer sorts and drops messages by it."
    )
    worst = max(abs(seconds) for _, seconds in named)
    return (failure if worst > _HARMFUL else warning)("clocks", expected, came, remedy, worst=round(worst, 3))
