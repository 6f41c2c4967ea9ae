"""The answers of a server to ``etp_doctor``.

Rules kept here:

- An event that was not signed with the ``SECRET_KEY`` is an event without a handler, as if this module were not there.
- A question that is too old is answered with the clock of the server alone, which is the likely reason.
- The only event that a question makes the server send is one of its own, with the question's random text.
"""

import json
import time
from contextvars import Context

from django_etp.connections.peer import Peer
from django_etp.exceptions import LayerUnavailable
from django_etp.protocol.frames import DOCTOR, Event, encode, encode_answer

from .facts import to_plain
from .questions import Question, read_question

__all__ = ["answer_doctor"]


def answer_doctor(peer: Peer, event: Event, context: Context) -> bool:
    """Answer a question of ``etp_doctor``, maybe later in a context; return whether the event is one."""
    question = read_question(event.data) if event.ack_id else None
    if question is None:
        return False
    now = time.time()
    if not question.is_fresh(now):
        peer.deliver(encode_answer(event, json.dumps({"now": now})))
    elif question.to:
        context.copy().run(peer.hub.run, _send(peer, event, question))
    else:
        peer.deliver(encode_answer(event, json.dumps(to_plain(peer, question.nonce))))
    return True


async def _send(peer: Peer, event: Event, question: Question) -> None:
    """Send an event to the connections that a question names, and answer it with the problem, if there is one."""
    frame = encode(Event(DOCTOR, 0, question.nonce))
    try:
        sends = [sent for id in question.to for sent in peer.hub.send_to(peer.namespace, id, frame)]
        await peer.hub.sent(sends)
        problem = ""
    except LayerUnavailable as error:
        problem = str(error)
    peer.deliver(encode_answer(event, json.dumps({"problem": problem})))
