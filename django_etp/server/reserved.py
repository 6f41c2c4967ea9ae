"""The frames of a client with reserved names that pass the queue of events."""

from contextvars import Context

from django_etp.auth.token_login import begin_renewal
from django_etp.connections.peer import Peer
from django_etp.connections.scope import extensions_of
from django_etp.doctor.answers import answer_doctor
from django_etp.events.streams import stop_stream
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.frames import AUTH, DOCTOR, ROOMS_SUBPROTOCOL, Event, encode_answer

__all__ = ["take_reserved"]


def take_reserved(peer: Peer, event: Event, context: Context) -> bool:
    """Act on an answer, a ping, a new token, a request to stop or a question of the doctor; return whether it is one.

    ``context`` is that of the handshake.
    """
    match meaning_of(event, speaks_extensions=peer.speaks_extensions):
        case "answer":
            peer.settle(event)
            return True
        case "ping":
            peer.deliver(encode_answer(event))
            return True
        case "stop" if extensions_of(peer.scope) == ROOMS_SUBPROTOCOL:
            stop_stream(peer.id, event.ack_id)
            return True
        case "event" if event.name == AUTH:
            return begin_renewal(peer, event, context)
        case "event" if event.name == DOCTOR:
            return answer_doctor(peer, event, context)
    return False
