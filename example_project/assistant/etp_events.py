"""Two ways to show an answer while it is written.

- The event `ask` streams it to the connection that asked. The answer ends with the connection.
- In the room `assistant/<owner>` a worker writes it. All tabs of the user see it, also those that come later or come
  back, and each of them may stop it.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from django_etp import Connection, Event, EventFailed, History, etp_event, etp_room

from . import language_model, writing
from .models import Answer

logger = logging.getLogger(__name__)


def check(prompt: str) -> str:
    """Return a prompt that may be asked; otherwise the browser gets the reason."""
    prompt = prompt.strip()
    if not prompt:
        raise EventFailed("empty", "Ask something first.")
    if len(prompt) > Answer.MAX_PROMPT:
        raise EventFailed("too_long", f"That is too long: up to {Answer.MAX_PROMPT} characters, please.")
    return prompt


@etp_event("ask")
async def ask(connection: Connection, prompt: str) -> AsyncIterator[Any]:
    """Stream the answer. If the browser stops it, or goes, the generator is closed, and with it that of the model."""
    prompt, count = check(prompt), 0
    try:
        async with aclosing(language_model.awrite(prompt)) as words:
            async for word in words:
                yield {"text": word}
                count += 1
    finally:
        logger.info("The stream for %s was closed after %s words.", connection.user, count)


@etp_room("assistant/<int:owner>", login_required=True, history=History(size=500, seconds=300))
def answers(connection: Connection, owner: int) -> dict[str, Any]:
    """Give a newcomer the last answer, as far as it is written. The rest comes as events."""
    answer = Answer.objects.filter(owner_id=owner).last()
    return {"answer": answer and answer.as_payload()}


@answers.allow
def may_enter(user: AbstractBaseUser, owner: int) -> bool:
    return user.pk == owner


@answers.event("ask")
def ask_worker(connection: Connection, prompt: str, owner: int) -> None:
    writing.begin(answers(owner=owner), connection.user, check(prompt))


@answers.event("stop")
def stop(connection: Connection, event: Event, owner: int) -> None:
    writing.stop(answers(owner=owner), owner)
