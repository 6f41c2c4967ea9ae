"""Django forms."""

from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User

from django_etp.schemas.adapters import writer_for
from tests.support.schemas import errors_of, read


class Say(forms.Form):
    text = forms.CharField(max_length=5)
    to = forms.IntegerField(required=False)
    is_loud = forms.BooleanField(required=False)
    rooms = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("text") == "no":
            raise forms.ValidationError("Not this.", code="not_this")
        return self.cleaned_data


class Person(forms.ModelForm):
    class Meta:
        model = User
        fields = ("username",)


def test_a_valid_form_is_read() -> None:
    form = read(Say, '{"text":"hi","to":5,"is_loud":true,"rooms":["a","b"]}')
    assert isinstance(form, Say)
    assert form.cleaned_data == {"text": "hi", "to": 5, "is_loud": True, "rooms": ["a", "b"]}


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ("{}", [(["text"], "required")]),
        ('{"text":"too long","to":"x"}', [(["text"], "max_length"), (["to"], "invalid")]),
        ('{"text":"a","rooms":["c"]}', [(["rooms"], "invalid_choice")]),
        ('{"text":"no"}', [([], "not_this")]),
        ("[]", [([], "invalid")]),
        ("", [([], "invalid")]),
        ("no JSON", [([], "json_invalid")]),
    ],
)
def test_what_does_not_fit_is_said_field_by_field(data: str, errors: list[Any]) -> None:
    assert errors_of(Say, data) == errors


def test_no_data_is_none_if_the_type_allows_it() -> None:
    assert read(Say | None) is None


def test_a_form_is_not_sent() -> None:
    with pytest.raises(TypeError, match="Say is a form, which reads data: forms cannot be sent"):
        writer_for(Say)


@pytest.mark.django_db
def test_a_form_may_look_into_the_database() -> None:
    assert read(Person, '{"username":"ada"}').save().pk
    assert errors_of(Person, '{"username":"ada"}') == [(["username"], "unique")]
