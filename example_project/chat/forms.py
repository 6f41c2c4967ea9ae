"""Validate the input of pages and events, with the error messages that users see."""

import unicodedata
from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.http import HttpRequest

from .messages import MAX_KEY_LENGTH, MAX_LENGTH


def validate_name(name: str) -> None:
    """Allow letters, digits, spaces and some punctuation."""
    # Many scripts combine letters with marks, which \w does not match.
    if not all(unicodedata.category(character)[0] in "LMN" or character in " .'\u2019-_" for character in name):
        raise forms.ValidationError("A name may hold letters, digits, spaces and . ' - _ only.")


class LogInForm(forms.Form):
    """Let guests in by a name alone. Users with a password need it, and so do all members of the staff."""

    name = forms.CharField(
        max_length=24,
        label="Your name",
        error_messages={
            "required": "Choose a name first.",
            "max_length": "A name may have up to %(limit_value)d characters.",
        },
        validators=[validate_name],
        widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        required=False,
        strip=False,
        label="Password, if you are on the staff",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.request = request
        self.user: AbstractBaseUser | None = None

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean(self) -> None:
        name, password = self.cleaned_data.get("name"), self.cleaned_data.get("password")
        if name and password:
            self.user = authenticate(self.request, username=name, password=password)
            if self.user is None:
                self.add_error("password", "This is not the password of a user of this name.")
        elif name:
            self.user = find_guest(name)
            if self.user is None:
                self.add_error("name", "This name belongs to another user.")

    def get_user(self) -> AbstractBaseUser | None:
        return self.user


def find_guest(name: str) -> User | None:
    """Return the guest of this name, who may be new. Return None if the name belongs to somebody else."""
    # Two visitors may log in at once as Ada and as ada. From then on both names belong to the first user.
    user = User.objects.filter(username__iexact=name).order_by("pk").first()
    if user is None:
        user, _ = User.objects.get_or_create(username=name, defaults={"password": make_password(None)})
    is_guest = user.is_active and not (user.has_usable_password() or user.is_staff or user.is_superuser)
    return user if is_guest else None


class TextField(forms.CharField):
    """Text of several lines. Count each line end as one character; a browser's form sends two."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value).replace("\r\n", "\n")


class TextForm(forms.Form):
    text = TextField(
        max_length=MAX_LENGTH,
        error_messages={
            "required": "Write something first.",
            "max_length": "That is too long: up to %(limit_value)d characters, please; these are %(show_value)d.",
        },
    )


class MessageForm(TextForm):
    key = forms.SlugField(max_length=MAX_KEY_LENGTH)


def first_error(form: forms.Form) -> str:
    return next(iter(form.errors.values()))[0]
