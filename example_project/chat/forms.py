"""What may come in, from pages and events alike, and the words for what may not."""

from typing import Any

from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.validators import RegexValidator
from django.http import HttpRequest

from .models import Message, Room


class LogInForm(forms.Form):
    """Anyone may be anyone, but for the users who have a password, such as an administrator."""

    name = forms.CharField(
        max_length=24,
        label="Your name",
        error_messages={
            "required": "Choose a name first.",
            "max_length": "A name may have up to %(limit_value)d characters.",
        },
        validators=[RegexValidator(r"^[\w .'-]+\Z", "A name may hold letters, digits, spaces and . ' - _ only.")],
        widget=forms.TextInput(attrs={"autocomplete": "nickname", "autofocus": True}),
    )

    def __init__(self, request: HttpRequest | None = None, **options: Any) -> None:
        super().__init__(**options)  # LoginView passes the request; nothing here depends on it

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        self.user, _ = User.objects.get_or_create(
            username__iexact=name, defaults={"username": name, "password": make_password(None)}
        )
        if self.user.has_usable_password() or not self.user.is_active:
            raise forms.ValidationError("This name belongs to somebody else.")
        return name

    def get_user(self) -> User:
        return self.user


class RoomForm(forms.Form):
    room = forms.ChoiceField(choices=Room.choices, error_messages={"invalid_choice": "There is no such room."})


class TextForm(forms.Form):
    text = forms.CharField(
        max_length=Message.MAX_LENGTH,
        error_messages={
            "required": "Write something first.",
            "max_length": "That is too long: up to %(limit_value)d characters, please; these are %(show_value)d.",
        },
    )


class MessageForm(RoomForm, TextForm):
    key = forms.SlugField(max_length=Message.MAX_KEY_LENGTH)


def first_error(form: forms.Form) -> str:
    return next(iter(form.errors.values()))[0]
