"""Compare the processes of a site with this one and with each other: keys, clocks, versions, settings."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django_etp.conf import get_settings

from .clocks import check_clocks
from .facts import VERSION, ProcessFacts, fingerprint
from .findings import Finding, failure, ok, skipped, warning

__all__ = ["Process", "compare"]


@dataclass(frozen=True, slots=True)
class Process:
    """One server process, as it was reached.

    Attributes:
        hub: the id of its hub.
        accepts_key: whether it has accepted a question that was signed with this command's ``SECRET_KEY``; ``None`` if
            that is not known.
        skew: how many seconds its clock is ahead; ``None`` if that is not known.
        facts: its facts, if they are known.
    """

    hub: str
    accepts_key: bool | None = None
    skew: float | None = None
    facts: ProcessFacts | None = None

    def __str__(self) -> str:
        if self.facts is not None:
            return f"{self.facts.name} ({self.hub})"
        return f"process {self.hub or 'without a name'}"


def compare(processes: Iterable[Process], nonce: str) -> Iterator[Finding]:
    """Compare processes; ``nonce`` is the random text that their fingerprints depend on."""
    processes = list(processes)
    yield _keys(processes, fingerprint(nonce))
    known = [process for process in processes if process.skew is not None]
    if known:
        yield check_clocks((str(process), process.skew or 0.0) for process in known)
    else:
        yield skipped("clocks", "clocks that agree", "not known, since no process has told its clock")
    yield from _versions([process for process in processes if process.facts is not None], nonce)


def _keys(processes: list[Process], own: str) -> Finding:
    expected = "all processes have the SECRET_KEY of this command"
    wrong = [
        process
        for process in processes
        if process.accepts_key is False or (process.facts is not None and process.facts.key != own)
    ]
    if wrong:
        names = ", ".join(sorted({str(process) for process in wrong}))
        return failure(
            "secret key",
            expected,
            f"{names} does not accept what is signed with it",
            "Run this command with the settings of the servers, and give all of them one SECRET_KEY: sessions, logins "
            "and signed tokens of one process are void in another. A server whose django_etp is older than etp_doctor "
            "answers like that, too.",
        )
    if not any(process.accepts_key or process.facts for process in processes):
        return skipped("secret key", expected, "not known, since no process has answered")
    return ok("secret key", expected, "they have")


def _versions(processes: list[Process], nonce: str) -> Iterator[Finding]:
    facts = [process.facts for process in processes if process.facts is not None]
    if not facts:
        return
    expected = f"all processes run django_etp {VERSION} with the ETP settings of this command"
    others = sorted({each.version for each in facts} - {VERSION})
    # With another key the fingerprint of the same settings is another one.
    own = fingerprint(nonce), fingerprint(f"{nonce} {get_settings()!r}")
    differ = [each.name for each in facts if each.key == own[0] and each.settings != own[1]]
    problems = [f"there is {', '.join(others)}, too"] if others else []
    if differ:
        problems.append(f"{', '.join(sorted(set(differ)))} has other ETP settings")
    if not problems:
        yield ok("versions", expected, "they do")
        return
    remedy = "Deploy all processes and this command from one release; while a deploy is under way this is normal."
    yield warning("versions", expected, "; ".join(problems), remedy)
