"""The forms of the live page: close a connection, send a message, take a connection out of a room."""

import json
from typing import Any, NoReturn

from django import forms
from django.core.exceptions import ValidationError

from django_etp.exceptions import EtpError
from django_etp.protocol.closing import check_close
from django_etp.protocol.frames import check_event_name

__all__ = ["DisconnectForm", "LeaveForm", "MessageForm", "UserMessageForm"]

# The clients of the package do not come back after 1000, and do after 1012.
FOR_GOOD, MAY_RETURN = 1000, 1012


class DisconnectForm(forms.Form):
    """Close a connection."""

    code = forms.TypedChoiceField(
        label="The client",
        coerce=int,
        choices=[(FOR_GOOD, "stays away (close code 1000)"), (MAY_RETURN, "may connect again (close code 1012)")],
    )
    reason = forms.CharField(label="Reason for the client", required=False, max_length=123)

    def clean(self) -> dict[str, Any]:
        """Check that the reason fits into a close frame."""
        cleaned = super().clean() or {}
        if "code" in cleaned and "reason" in cleaned:
            try:
                check_close(cleaned["code"], cleaned["reason"])
            except EtpError as error:
                self.add_error("reason", str(error))
        return cleaned


class MessageForm(forms.Form):
    """Send an event."""

    event = forms.CharField(label="Event", strip=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    payload = forms.CharField(
        label="Data", required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="JSON, or nothing"
    )

    def clean_event(self) -> str:
        """Check that the name can be that of an event."""
        name: str = self.cleaned_data["event"]
        try:
            check_event_name(name)
        except EtpError as error:
            raise ValidationError(str(error)) from error
        return name

    def clean_payload(self) -> str | None:
        """Return the text of the JSON, which goes to the clients as it is."""
        text: str = self.cleaned_data["payload"].strip()
        if not text:
            return None
        try:
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is not JSON: {error}") from error
        return text


class UserMessageForm(MessageForm):
    """Send an event to a connection, or to all connections of its user."""

    to = forms.ChoiceField(label="To", choices=[("connection", "this connection"), ("user", "all of the user's")])


class LeaveForm(forms.Form):
    """Take a connection out of a room."""

    connection = forms.CharField(widget=forms.HiddenInput)
    room = forms.CharField(strip=False, max_length=1000, widget=forms.HiddenInput)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not in JSON")
