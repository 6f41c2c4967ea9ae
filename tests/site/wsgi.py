"""The HTTP views of the site under WSGI: `python -m tests.site.wsgi`."""

import os
import signal
import sys

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")


def main() -> None:
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(get_wsgi_application())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"running on http://127.0.0.1:{server.server_port} ", flush=True)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    main()
