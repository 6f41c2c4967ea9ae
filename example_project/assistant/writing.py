"""Write answers outside of any connection: in a Celery worker, or in a thread if there is no broker.

Each part is stored first and sent then. So the row holds at least what tabs have seen, and a tab that opens in the
middle begins with it. The row also tells the worker that somebody has stopped the answer.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection

from django_etp import LayerUnavailable, rooms

from . import language_model
from .models import Answer

logger = logging.getLogger(__name__)

# Each part is a write to the database and a message to every process, so it holds the words of so many seconds.
PART_TIME = 0.2


def begin(room: str, owner: AbstractBaseUser, prompt: str) -> None:
    """Begin an answer, in place of one that is being written, and return at once."""
    stop(room, owner.pk)
    answer = Answer.objects.create(owner_id=owner.pk, prompt=prompt)
    _tell(room, "answer", answer.as_payload())
    if settings.BROKER:
        from .tasks import write_answer  # Celery is needed only if there is a broker

        write_answer.delay(room, answer.pk)
    else:
        threading.Thread(target=_write_in_thread, args=(room, answer.pk), daemon=True).start()


def stop(room: str, owner_id: int) -> None:
    """Stop what is being written for a user. The worker may be another process, and reads it from the row."""
    for answer in Answer.objects.filter(owner_id=owner_id, status=Answer.Status.WRITING):
        _end(room, answer.pk, Answer.Status.STOPPED)


def write(room: str, pk: int) -> None:
    """Write an answer, part by part, until its end or until somebody stops it."""
    answer = Answer.objects.get(pk=pk)
    for part in _parts(language_model.write(answer.prompt)):
        answer.parts.append(part)
        if not Answer.objects.filter(pk=pk, status=Answer.Status.WRITING).update(parts=answer.parts):
            logger.info("The worker stopped writing answer %s after %s parts.", pk, len(answer.parts) - 1)
            return
        _tell(room, "part", {"pk": pk, "number": len(answer.parts) - 1, "text": part})
    _end(room, pk, Answer.Status.DONE)


def _end(room: str, pk: int, status: Answer.Status) -> None:
    if Answer.objects.filter(pk=pk, status=Answer.Status.WRITING).update(status=status):
        _tell(room, "answer", Answer.objects.get(pk=pk).as_payload())


def _tell(room: str, event: str, data: object) -> None:
    """Send to all tabs. If the broker is away, the answer goes on: the event at its end holds all of it."""
    try:
        rooms.emit(room, event, data)
    except LayerUnavailable:
        logger.warning("The tabs in %s did not get %r.", room, event)


def _parts(words: Iterable[str]) -> Iterator[str]:
    part, began = "", time.monotonic()
    for word in words:
        part += word
        if time.monotonic() - began >= PART_TIME:
            yield part
            part, began = "", time.monotonic()
    if part:
        yield part


def _write_in_thread(room: str, pk: int) -> None:
    try:
        write(room, pk)
    finally:
        connection.close()  # this thread's own
