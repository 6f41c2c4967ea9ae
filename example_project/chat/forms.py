"""Validate the input of pages and events, with the error messages that users see."""

import unicodedata
from typing import Any

from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.http import HttpRequest

from .models import Message


def validate_name(name: str) -> None:
    """Allow letters, digits, spaces and some punctuation."""
    # Many scripts combine letters with marks, which \w does not match.
    if not all(unicodedata.category(character)[0] in "LMN" or character in " .'\u2019-_" for character in name):
        raise forms.ValidationError("A name may hold letters, digits, spaces and . ' - _ only.")


class LogInForm(forms.Form):
    """Log in with a name only. Names of users who have a password, such as an administrator, are refused."""

    name = forms.CharField(
        max_length=24,
        label="Your name",
        error_messages={
            "required": "Choose a name first.",
            "max_length": "A name may have up to %(limit_value)d characters.",
        },
        validators=[validate_name],
        widget=forms.TextInput(attrs={"autocomplete": "nickname", "autofocus": True}),
    )

    def __init__(self, request: HttpRequest | None = None, **options: Any) -> None:
        super().__init__(**options)  # LoginView passes the request; nothing here depends on it

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        # Two visitors may log in at once as Ada and as ada. From then on both names belong to the first user.
        user = User.objects.filter(username__iexact=name).order_by("pk").first()
        if user is None:
            user, _ = User.objects.get_or_create(username=name, defaults={"password": make_password(None)})
        self.user = user
        if self.user.has_usable_password() or not self.user.is_active:
            raise forms.ValidationError("This name belongs to another user.")
        return name

    def get_user(self) -> User:
        return self.user


class TextField(forms.CharField):
    """Text of several lines. Count each line end as one character; a browser's form sends two."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value).replace("\r\n", "\n")


class TextForm(forms.Form):
    text = TextField(
        max_length=Message.MAX_LENGTH,
        error_messages={
            "required": "Write something first.",
            "max_length": "That is too long: up to %(limit_value)d characters, please; these are %(show_value)d.",
        },
    )


class MessageForm(TextForm):
    key = forms.SlugField(max_length=Message.MAX_KEY_LENGTH)


def first_error(form: forms.Form) -> str:
    return next(iter(form.errors.values()))[0]
