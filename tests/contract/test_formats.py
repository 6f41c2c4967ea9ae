"""The texts of an AsyncAPI document."""

import json
import sys

import pytest
import yaml

from django_etp.contract.asyncapi import to_document
from django_etp.contract.description import describe
from django_etp.contract.formats import has_yaml, to_json, to_yaml
from tests.support.contracts import NAMESPACE, declare

pytestmark = pytest.mark.usefixtures("etp_registry")


def test_both_texts_are_the_document() -> None:
    kept = declare()
    contract = describe(NAMESPACE)
    assert json.loads(to_json(contract)) == yaml.safe_load(to_yaml(contract)) == to_document(contract)
    assert kept


def test_yaml_has_no_references_to_objects_that_are_there_twice() -> None:
    kept = declare()
    text = to_yaml(describe(NAMESPACE))
    assert "&id001" not in text
    assert kept


def test_whether_there_is_yaml_depends_on_pyyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_yaml()
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert not has_yaml()
