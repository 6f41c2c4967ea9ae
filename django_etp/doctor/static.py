"""Whether the site serves the browser client of the installed version."""

import asyncio
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from django_etp.exceptions import describe
from django_etp.quoting import one_line

from .facts import VERSION
from .findings import Finding, failure, ok, warning
from .target import Target

__all__ = ["check_static"]

_FILE = "django_etp/etp.js"
_LARGEST = 1024 * 1024
_MISSING = (
    "Run collectstatic on the server, and let it or the proxy serve STATIC_ROOT. If your pages get the client from a "
    "bundler, ignore this."
)


async def check_static(target: Target) -> Finding:
    """Get etp.js as a page would, and compare it with the one of this installation."""
    expected = f"the site serves the {_FILE} of django_etp {VERSION}"
    try:
        url = urljoin(f"{target.origin}/", static(_FILE))
    except (ImproperlyConfigured, ValueError) as error:  # no STATIC_URL; no entry in the manifest of collectstatic
        return warning("etp.js", expected, one_line(describe(error), 200), _MISSING)
    try:
        served = await asyncio.to_thread(_get, url, target.timeout)
    except urllib.error.HTTPError as error:
        return warning("etp.js", expected, f"HTTP {error.code} for {url}", _MISSING)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return warning("etp.js", expected, f"{url}: {one_line(describe(error), 200)}", _MISSING)
    if _essence(served) == _essence(_installed()):
        return ok("etp.js", expected, f"it does: {url}")
    return failure(
        "etp.js",
        expected,
        f"{url} is another file: {len(served):,} bytes in place of {len(_installed()):,}",
        "Run collectstatic on the server, deploy its result, and empty the cache of the CDN. If it is up to date, run "
        "this command with the version of django_etp that the servers have.",
    )


def _get(url: str, timeout: float) -> bytes:
    request = urllib.request.Request(url, headers={"Cache-Control": "max-age=0", "User-Agent": "etp_doctor"})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return bytes(response.read(_LARGEST))


def _installed() -> bytes:
    return (Path(__file__).parents[1] / "static" / _FILE).read_bytes()


def _essence(content: bytes) -> bytes:
    # A storage may add or change the comment that names the source map.
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith(b"//# sourceMappingURL=")).strip()
