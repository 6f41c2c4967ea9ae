"""A stand-in for a language model: it writes the words of a fixed text, one after the other.

The client of a real model yields words in the same way, while an HTTP request is open.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator

PACE = 0.1  # seconds for a word

TEXT = """You asked: “{prompt}” I am no language model, so here is a story instead.

Once there was a parlour in which every guest spoke as slowly as a clock ticks. Whoever wanted to hear the end of a \
sentence had to stay for it, and most guests had other things to do. Some left in the middle, and the speaker stopped \
at once, because a story that nobody hears costs breath all the same.

One evening a guest brought a clerk. The clerk wrote every word into a book, and read it aloud in all the rooms of the \
house at the same time. Now the guests could walk from one room to another without losing a word. Those who came late \
looked into the book first, and then listened to the rest. When one of them raised a hand, in whatever room it was, \
the clerk laid down the pen, and all the rooms fell silent together.

Since then there are two kinds of stories in that parlour, and both are good ones."""


def write(prompt: str) -> Iterator[str]:
    """Yield the words of the answer, each with the space behind it."""
    for word in _words(prompt):
        time.sleep(PACE)
        yield word


async def awrite(prompt: str) -> AsyncIterator[str]:
    """See write()."""
    for word in _words(prompt):
        await asyncio.sleep(PACE)
        yield word


def _words(prompt: str) -> list[str]:
    return re.findall(r"\S+\s*", TEXT.format(prompt=prompt))
