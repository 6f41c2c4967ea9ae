"""Run commands from stdin in a plain process; each command and each reply is a JSON list on one line.

["call", name, arguments, keywords] calls the rooms API; ["fork", [[name, arguments], …]] forks a child that makes these
calls and ends; ["wait"] waits for the children.
"""

import json
import os
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    children: list[int] = []
    for line in sys.stdin:
        match json.loads(line):
            case ["call", name, arguments, keywords]:
                outcome = call(name, arguments, keywords)
            case ["fork", calls]:
                sys.stdout.flush()
                child = os.fork()
                if child == 0:
                    failures = [called for called in (call(*each, {}) for each in calls) if "error" in called]
                    sys.exit(str(failures) if failures else 0)
                children.append(child)
                outcome = {"result": child}
            case ["wait"]:
                outcome = {"result": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]}
                children.clear()
        print(json.dumps(outcome), flush=True)


def call(name: str, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    from tests.site.cluster import cluster, plain

    try:
        result = getattr(cluster, name)(*arguments, **keywords)
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "answer": plain(getattr(error, "answer", None))}
    return {"result": plain(result)}


if __name__ == "__main__":
    main()
