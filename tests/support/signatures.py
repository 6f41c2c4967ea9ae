"""Signatures as their source has them: they read as they were written, and are the same on every Python."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

WIDTH = 100

# A type alias, a type variable or a constant that a module keeps to itself.
_PRIVATE = re.compile(r"\b_[A-Z]\w*")


@dataclass(frozen=True, slots=True)
class Definition:
    """The source of a function or a class."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    source: str
    module: str

    @property
    def parameters(self) -> list[str]:
        """The parameters of a function, without ``self``."""
        assert not isinstance(self.node, ast.ClassDef)
        arguments = self.node.args
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
        written = [self._parameter(each, default) for each, default in zip(plain, defaults, strict=True)]
        if plain and plain[0].arg in {"self", "cls"}:
            del written[0]
        if arguments.vararg:
            written.append("*" + self._parameter(arguments.vararg))
        elif arguments.kwonlyargs:
            written.append("*")
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            written.append(self._parameter(each, default))
        if arguments.kwarg:
            written.append("**" + self._parameter(arguments.kwarg))
        return written

    @property
    def result(self) -> str:
        """The type that a function returns."""
        assert not isinstance(self.node, ast.ClassDef)
        return self._annotation(self.node.returns) if self.node.returns else "Any"

    def _parameter(self, argument: ast.arg, default: ast.expr | None = None) -> str:
        annotation = f": {self._annotation(argument.annotation)}" if argument.annotation else ""
        if default is None:
            return argument.arg + annotation
        text = self._text(default)
        if isinstance(default, ast.Name) and default.id.isupper():  # a constant, maybe of another module
            text = repr(getattr(import_module(self.module), default.id))
        return f"{argument.arg}{annotation}{' = ' if annotation else '='}{text}"

    def _annotation(self, node: ast.expr) -> str:
        return (
            self._text(node).removeprefix('"').removesuffix('"') if isinstance(node, ast.Constant) else self._text(node)
        )

    def _text(self, node: ast.expr) -> str:
        text = " ".join((ast.get_source_segment(self.source, node) or "").split())
        text = re.sub(r"([\[(]) ", r"\1", text).replace(" ]", "]").replace(" )", ")")
        return _PRIVATE.sub(lambda match: private_names(self.module).get(match[0], match[0].lstrip("_")), text)


@cache
def private_names(module: str) -> dict[str, str]:
    """Return what the private type aliases and numbers of a module stand for."""
    source = Path(inspect.getfile(import_module(module))).read_text()
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp() | ast.Subscript() | ast.Constant() as value):
                text = ast.get_source_segment(source, value) or ""
                found[name] = _PRIVATE.sub(lambda match: found.get(match[0], match[0]), text)
    return found


def define(value: Any) -> Definition:
    """Return the definition of a function, a method or a class."""
    original = inspect.unwrap(value)
    source = textwrap.dedent(inspect.getsource(original))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return Definition(node, source, original.__module__)


def of_twins(functions: dict[str, Any]) -> Iterator[str]:
    """Return the signatures of a function and its twin, without the arguments of the twin if those take lines."""
    seen: list[tuple[list[str], str]] = []
    for name, function in functions.items():
        definition = define(function)
        word = "async def" if isinstance(definition.node, ast.AsyncFunctionDef) else "def"
        signature = wrap(f"{word} {name}", definition.parameters, f" -> {definition.result}")
        if "\n" in signature and (definition.parameters, definition.result) in seen:
            signature = f"{word} {name}(...) -> {definition.result}  # takes the same arguments"
        seen.append((definition.parameters, definition.result))
        yield signature


def of_property(name: str, value: property) -> str:
    """Return the name of a property with its type."""
    return f"{name}: {define(value.fget).result}"


def is_own(base: type) -> bool:
    """Whether the package keeps a base class to itself, so that public classes have its members as their own."""
    package = base.__module__.rpartition(".")[0]
    return package.startswith("django_etp") and base.__name__ not in getattr(import_module(package), "__all__", ())


def of_class(cls: type) -> str:
    """Return the class with what makes an instance, unless only the package makes any."""
    definition = define(cls)
    assert isinstance(definition.node, ast.ClassDef)
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object and not is_own(base))
    head = f"class {cls.__name__}({bases})" if bases else f"class {cls.__name__}"
    if not (dataclasses.is_dataclass(cls) or issubclass(cls, Exception) or "\nArgs:\n" in (inspect.getdoc(cls) or "")):
        return head
    for node in definition.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            parameters = Definition(node, definition.source, definition.module).parameters
            return f"{head}:\n" + textwrap.indent(wrap("def __init__", ["self", *parameters]), "    ")
    fields = [node for node in definition.node.body if isinstance(node, ast.AnnAssign)]
    lines = [f"    {ast.get_source_segment(definition.source, field)}" for field in fields]
    return "\n".join([f"{head}:", *lines]) if lines else head


def of_constant(module: ModuleType, name: str) -> tuple[str, str]:
    """Return the line that sets a constant and the comment above it, also if the module imports it from a sibling."""
    source = Path(inspect.getfile(module)).read_text()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                above = source.splitlines()[: node.lineno - 1]
                comment = above[len(above) - _count_comments(above) :]
                return ast.get_source_segment(source, node) or "", "\n".join(line.lstrip("# ") for line in comment)
            case ast.ImportFrom(module=str(origin), level=1) if name in {each.name for each in node.names}:
                return of_constant(import_module(f"{module.__name__}.{origin}"), name)
    raise LookupError(f"{module.__name__} sets no {name}.")


def _count_comments(lines: list[str]) -> int:
    return next((count for count, line in enumerate(reversed(lines)) if not line.startswith("#")), len(lines))


def wrap(start: str, parameters: list[str], end: str = "") -> str:
    """Return a signature in one line, or with one parameter a line if that is too long."""
    line = f"{start}({', '.join(parameters)}){end}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{start}(", *(f"    {each}," for each in parameters), f"){end}"])
