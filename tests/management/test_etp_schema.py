"""``manage.py etp_schema`` prints a contract, or compares it with an earlier one."""

import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from pydantic import BaseModel

from django_etp import Connection, etp_event
from tests.support.contracts import NAMESPACE, declare, document, output

pytestmark = pytest.mark.usefixtures("etp_registry")


class Hook(BaseModel):
    run: Callable[[], None]


def refusal_of(*arguments: str, namespace: str = NAMESPACE) -> CommandError:
    with pytest.raises(CommandError) as caught:
        output(*arguments, namespace=namespace)
    return caught.value


def test_json_is_the_default_and_yaml_the_same_document() -> None:
    kept = declare()
    printed = json.loads(output())
    assert printed["asyncapi"] == "3.0.0"
    assert yaml.safe_load(output("--format=yaml")) == printed == json.loads(output("--format=json"))
    assert kept


def test_the_namespace_is_default_by_default() -> None:
    etp_event("only here")(lambda connection, event: None)
    out = StringIO()
    call_command("etp_schema", stdout=out)
    assert "events.receive.only_here" in json.loads(out.getvalue())["operations"]


def test_without_pyyaml_yaml_is_refused_and_json_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = declare()
    monkeypatch.setitem(sys.modules, "yaml", None)
    error = refusal_of("--format=yaml")
    assert "pip install 'django-etp[yaml]'" in str(error)
    assert error.returncode == 2
    assert output()
    assert kept


def test_types_for_typescript_are_printed() -> None:
    kept = declare()
    printed = output("--typescript")
    assert "\nexport interface Contract {\n" in printed
    assert "    echo: { payload: string; answer: string };\n" in printed
    assert kept


def test_nothing_breaks_clients_of_the_same_contract(tmp_path: Path) -> None:
    kept = declare()
    file = tmp_path / "contract.json"
    file.write_text(output())
    assert output(f"--check={file}") == f"Nothing breaks clients that know {file}.\n"
    assert kept


def test_what_breaks_clients_is_listed(tmp_path: Path) -> None:
    kept = declare()
    earlier = document()
    earlier["components"]["schemas"]["Say"]["required"] = []
    earlier["channels"]["events"]["messages"]["say.answer"]["payload"] = {"type": "null"}
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(earlier))
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("etp_schema", f"--namespace={NAMESPACE}", f"--check={file}", stdout=out)
    assert caught.value.returncode == 1
    assert str(file) in str(caught.value)
    assert out.getvalue().splitlines() == [
        "The event 'say': its payload at text is required now.",
        "The event 'say': its answer may be integer now, not only null.",
        "The room 'orders/<int:pk>': the event 'say': its payload at text is required now.",
    ]
    assert kept


def test_an_unknown_namespace_is_refused() -> None:
    etp_event("hello", namespace="staff")(lambda connection, event: None)
    error = refusal_of(namespace="nosuch")
    assert "'nosuch'" in str(error)
    assert "'staff'" in str(error)
    assert error.returncode == 2


@pytest.mark.parametrize("text", [None, "asyncapi: 3.0.0", '{"openapi": "3.1.0"}', '{"asyncapi": "3.0.0"}'])
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, text: str | None) -> None:
    kept = declare()
    file = tmp_path / "contract.json"
    if text is not None:
        file.write_text(text)
    error = refusal_of(f"--check={file}")
    assert str(file) in str(error)
    assert error.returncode == 2
    assert kept


def test_a_file_of_another_namespace_is_refused(tmp_path: Path) -> None:
    kept = declare()
    file = tmp_path / "contract.json"
    file.write_text(output())
    etp_event("hello", namespace="staff")(lambda connection, event: None)
    error = refusal_of(f"--check={file}", namespace="staff")
    assert "--namespace shop" in str(error)
    assert error.returncode == 2
    assert kept


def test_a_type_without_a_schema_is_refused_with_the_place() -> None:
    @etp_event("hang", namespace="odd")
    def hang(connection: Connection, hook: Hook) -> None: ...

    error = refusal_of(namespace="odd")
    assert "test_etp_schema.py:" in str(error)
    assert "hang" in str(error)
    assert error.returncode == 2


@pytest.mark.parametrize(
    "arguments", [("--typescript", "--check=a"), ("--typescript", "--format=yaml"), ("--format=xml",)]
)
def test_arguments_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        output(*arguments)


def test_nothing_of_it_is_imported_unless_it_is_used() -> None:
    code = """
import sys, django
django.setup()
unused = ("django_etp.contract", "django_etp.management.commands.etp_schema", "yaml")
fields = [name for name in sys.modules if name.startswith("django_etp.schemas") and name.endswith("_fields")]
print([name for name in unused if name in sys.modules] + fields)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (process.stdout, process.stderr) == ("[]\n", "")
