"""The assistant's page, under a strict content security policy."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .etp_events import answers
from .models import Answer

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'"


@login_required
def assistant(request: HttpRequest) -> HttpResponse:
    context = {"room": answers(owner=request.user.pk), "max_length": Answer.MAX_PROMPT}
    response = render(request, "assistant/assistant.html", context)
    response.headers["Content-Security-Policy"] = POLICY
    return response
