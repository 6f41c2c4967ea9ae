"""The signed questions of `etp_doctor`."""

from typing import Any

import pytest
from django.core import signing

from django_etp.doctor.questions import MOST_RECIPIENTS, Question, read_question, sign

QUESTION = Question(1000.5, "nonce", ("a.1", "b.2"))


def test_a_signed_question_can_be_read() -> None:
    assert read_question(sign(QUESTION)) == QUESTION


def test_a_question_signed_with_another_key_is_none(settings: Any) -> None:
    signed = sign(QUESTION)
    settings.SECRET_KEY = "another"
    assert read_question(signed) is None
    settings.SECRET_KEY_FALLBACKS = ["tests"]  # as while a key is replaced
    assert read_question(signed) == QUESTION


@pytest.mark.parametrize("text", ["", "x", "a:b", ":", "\x00:\ud800", "e30:" + "x" * 10_000])
def test_what_was_not_signed_is_none(text: str) -> None:
    assert read_question(text) is None


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"at": "now", "nonce": "n", "to": []},
        {"at": 1, "nonce": 2, "to": []},
        {"at": 1, "nonce": "n"},
        {"at": float("inf"), "nonce": "n", "to": []},
    ],
)
def test_signed_content_of_another_form_is_none(content: Any) -> None:
    assert read_question(signing.Signer(salt="django_etp.doctor").sign_object(content)) is None


def test_what_was_signed_for_another_purpose_is_none() -> None:
    assert read_question(signing.Signer().sign_object({"at": 1, "nonce": "n", "to": []})) is None


def test_the_recipients_are_bounded() -> None:
    many = Question(1.0, "n", tuple(map(str, range(100))))
    read = read_question(sign(many))
    assert read is not None
    assert len(read.to) == MOST_RECIPIENTS


def test_a_question_is_fresh_for_five_minutes_by_either_clock() -> None:
    assert Question(1000.0, "n").is_fresh(1299.0)
    assert Question(1000.0, "n").is_fresh(701.0)
    assert not Question(1000.0, "n").is_fresh(1301.0)
    assert not Question(1000.0, "n").is_fresh(699.0)
