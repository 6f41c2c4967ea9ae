"""The pages of the contract, and its downloads.

Rules kept here:

- Staff may see it, and all visitors in ``DEBUG``.
- A page loads nothing but its own style and script, which come from these views: it needs no static files, no templates
  of the project and no other host. The policy that it sends with itself allows no more.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template import Context, Engine
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .description import describe, namespaces
from .formats import has_yaml, to_json, to_yaml
from .model import Contract, UnreadableContract
from .page import failures, page_of
from .typescript import to_typescript

__all__ = ["contract", "document", "index", "script", "style", "types", "yaml_document"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGES = Path(__file__).parent / "pages"
_ENGINE = Engine(dirs=[str(_PAGES)])

_View = Callable[..., HttpResponse]


def _for_staff(view: _View) -> _View:
    @wraps(view)
    def guarded(request: HttpRequest, **arguments: str) -> HttpResponse:
        user = getattr(request, "user", None)
        if not settings.DEBUG and not (getattr(user, "is_active", False) and getattr(user, "is_staff", False)):
            return redirect_to_login(request.get_full_path(), _login_for(user))
        try:
            return view(request, **arguments)
        except UnreadableContract as error:
            return _page(request, "problem.html", status=500, problem=error)

    # This decides who may see it, also in a project whose pages all need a login.
    decorated: _View = login_not_required(never_cache(require_safe(guarded)))
    return decorated


def _login_for(user: Any) -> str:
    """Return the address of a login that makes a member of the staff of a visitor: that of the admin, if it is there.

    Raises:
        PermissionDenied: there is none for this user.
    """
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        if user is None or user.is_authenticated:  # a login may send such a user back at once
            raise PermissionDenied("The contract is for members of the staff.") from None
        return resolve_url(settings.LOGIN_URL)


@_for_staff
def index(request: HttpRequest) -> HttpResponse:
    """List the namespaces; if there is only one, go to its page."""
    urls = [(namespace, _url(request, "contract", namespace)) for namespace in namespaces()]
    if len(urls) == 1:
        return HttpResponseRedirect(urls[0][1])
    return _page(request, "index.html", namespaces=urls)


@_for_staff
def contract(request: HttpRequest, namespace: str) -> HttpResponse:
    """Show the contract of a namespace."""
    described = _described(namespace)
    formats = {"AsyncAPI": "document", "AsyncAPI as YAML": "yaml_document", "TypeScript": "types"}
    if not has_yaml():
        del formats["AsyncAPI as YAML"]
    return _page(
        request,
        "contract.html",
        page=page_of(described),
        downloads=[(text, _url(request, name, namespace)) for text, name in formats.items()],
        index_url=_url(request, "index") if len(namespaces()) > 1 else "",
        failures=failures(),
    )


@_for_staff
def document(request: HttpRequest, namespace: str) -> HttpResponse:
    """Send the AsyncAPI document in JSON."""
    return HttpResponse(to_json(_described(namespace)), content_type="application/json")


@_for_staff
def yaml_document(request: HttpRequest, namespace: str) -> HttpResponse:
    """Send the same document in YAML; without PyYAML there is none."""
    if not has_yaml():
        raise Http404("YAML needs PyYAML: pip install 'django-etp[yaml]'.")
    return HttpResponse(to_yaml(_described(namespace)), content_type="application/yaml")


@_for_staff
def types(request: HttpRequest, namespace: str) -> HttpResponse:
    """Send the types for TypeScript, as a file to keep."""
    file = {"Content-Disposition": 'attachment; filename="contract.d.ts"'}
    text = to_typescript(_described(namespace))
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=file)


@login_not_required
@require_safe
def style(request: HttpRequest) -> HttpResponse:
    """Send the style of the pages."""
    return HttpResponse((_PAGES / "contract.css").read_bytes(), content_type="text/css; charset=utf-8")


@login_not_required
@require_safe
def script(request: HttpRequest) -> HttpResponse:
    """Send the script of the pages."""
    return HttpResponse((_PAGES / "contract.js").read_bytes(), content_type="text/javascript; charset=utf-8")


def _described(namespace: str) -> Contract:
    if namespace not in namespaces():
        raise Http404(f"The namespace {namespace!r} has no events and no rooms.")
    return describe(namespace)


def _page(request: HttpRequest, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    urls = {f"{name}_url": _url(request, name) for name in ("style", "script")}
    html = _ENGINE.get_template(template).render(Context({**context, **urls}))
    return HttpResponse(html, status=status, headers={"Content-Security-Policy": _POLICY})


def _url(request: HttpRequest, name: str, *arguments: str) -> str:
    # The project may include the URLs under a name of its own.
    match = request.resolver_match
    return reverse(f"etp_contract:{name}", args=arguments, current_app=match.namespace if match else None)
