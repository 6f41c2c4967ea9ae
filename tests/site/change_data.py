"""A plain script: `python -m tests.site.change_data ID KEY VALUE` changes a connection's data and prints it."""

import json
import os
import sys

import django


def main(connection_id: str, key: str, value: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()

    from django_etp import rooms

    print(json.dumps(rooms.of("visits").update_data(connection_id, {key: value})))


if __name__ == "__main__":
    main(*sys.argv[1:])
