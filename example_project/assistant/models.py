"""Answers that a worker writes: the row holds what all tabs of its owner see."""

from typing import Any

from django.conf import settings
from django.db import models


class Answer(models.Model):
    MAX_PROMPT = 300

    class Status(models.TextChoices):
        WRITING = "writing", "Writing"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    prompt = models.CharField(max_length=MAX_PROMPT)
    parts = models.JSONField(default=list)
    status = models.CharField(max_length=10, choices=Status, default=Status.WRITING)

    def __str__(self) -> str:
        return self.prompt

    def as_payload(self) -> dict[str, Any]:
        """Return the data that browsers receive."""
        return {"pk": self.pk, "prompt": self.prompt, "parts": self.parts, "status": self.status}
