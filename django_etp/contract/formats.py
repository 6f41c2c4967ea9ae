"""Write a contract as the text of an AsyncAPI document, in JSON or in YAML."""

import json
from importlib.util import find_spec

from .asyncapi import to_document
from .model import Contract

__all__ = ["has_yaml", "to_json", "to_yaml"]


def to_json(contract: Contract) -> str:
    """Return a contract as an AsyncAPI document in JSON."""
    return json.dumps(to_document(contract), indent=2, ensure_ascii=False, default=str)


def to_yaml(contract: Contract) -> str:
    """Return the same document in YAML.

    Raises:
        ImportError: PyYAML is not installed.
    """
    import yaml

    # The round trip leaves plain values, without the references of YAML to objects that are there twice.
    return str(yaml.safe_dump(json.loads(to_json(contract)), sort_keys=False, allow_unicode=True))


def has_yaml() -> bool:
    """Return whether to_yaml() works, without an import of the library."""
    return find_spec("yaml") is not None
