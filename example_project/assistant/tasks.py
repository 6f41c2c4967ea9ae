"""The Celery task of the assistant."""

from example_project.celery import app

from . import writing


@app.task
def write_answer(room: str, pk: int) -> None:
    writing.write(room, pk)
