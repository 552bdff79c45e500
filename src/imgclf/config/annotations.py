"""Values of a configuration against the annotations of parameters, read as they are written.

A configuration holds null, true/false, numbers, text, lists and mappings. Annotations about these are
checked; all others (callables, modules, tensors, names that cannot be followed) are not, and neither is a
mapping with a `_target_`, which stands for the object made of it.
"""

import ast
import math
from dataclasses import dataclass
from typing import Any

from imgclf.config import nearest
from imgclf.config.signatures import Module, Parameter, definition, resolve

_DEEPEST = 20  # aliases and brackets inside one another
_SCALARS = {
    "builtins.int": "int",
    "builtins.float": "float",
    "builtins.bool": "bool",
    "builtins.str": "str",
    "pathlib.Path": "path",
    "pathlib.PurePath": "path",
    "os.PathLike": "path",
}
_TYPING = ("builtins", "typing", "typing_extensions", "collections.abc")
_LISTS = {"list", "tuple", "sequence", "mutablesequence", "iterable", "collection", "set", "frozenset"}
_MAPPINGS = {"dict", "mapping", "mutablemapping"}


class Expected:
    """What a parameter accepts; `str()` of it completes "expected ..."."""

    def accepts(self, value: object) -> bool:
        """Whether a plain value (None, bool, int, float, str, list, dict) fits."""
        raise NotImplementedError

    def choices(self) -> list[object]:
        """The values it lists, if it lists any."""
        return []


def fits(value: object, expected: Expected | None) -> bool:
    """Whether `value` fits; what is not checked (None) and objects to be made (`_target_`) always do."""
    if expected is None or (isinstance(value, dict) and "_target_" in value):
        return True
    if not isinstance(value, bool | int | float | str | list | dict | None):
        return True  # bytes, dates and the like: no annotation read here speaks of them
    return expected.accepts(value)


@dataclass(frozen=True)
class Scalar(Expected):
    """`name` is int, float, bool, str or path."""

    name: str

    def accepts(self, value: object) -> bool:
        if isinstance(value, bool):
            return self.name == "bool"
        if isinstance(value, int):
            return self.name in ("int", "float")
        if isinstance(value, float):
            return self.name == "float"
        return isinstance(value, str) and self.name in ("str", "path")

    def __str__(self) -> str:
        return {"bool": "true or false", "str": "text", "path": "a path"}.get(self.name, self.name)


@dataclass(frozen=True)
class Choice(Expected):
    """One of the values of a Literal; null is Choice((None,))."""

    values: tuple[object, ...]

    def accepts(self, value: object) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in self.values)

    def choices(self) -> list[object]:
        return [value for value in self.values if value is not None]

    def __str__(self) -> str:
        shown = ", ".join(show(value) for value in self.values)
        return f"one of {shown}" if len(self.values) > 1 else shown


@dataclass(frozen=True)
class ListOf(Expected):
    """A list whose items fit `item`, or, where `items` is given, a list of that length, place by place."""

    item: Expected | None = None
    items: tuple[Expected | None, ...] | None = None

    def accepts(self, value: object) -> bool:
        if not isinstance(value, list):
            return False
        if self.items is not None:
            return len(value) == len(self.items) and all(map(fits, value, self.items))
        return all(fits(item, self.item) for item in value)

    def __str__(self) -> str:
        if self.items is not None:
            return "a list [" + ", ".join(str(item or "anything") for item in self.items) + "]"
        return f"a list of {self.item}" if self.item else "a list"


@dataclass(frozen=True)
class MappingOf(Expected):
    """A mapping whose keys and values fit."""

    key: Expected | None = None
    value: Expected | None = None

    def accepts(self, value: object) -> bool:
        if not isinstance(value, dict):
            return False
        return all(fits(k, self.key) and fits(v, self.value) for k, v in value.items())

    def __str__(self) -> str:
        return f"a mapping from {self.key or 'anything'} to {self.value or 'anything'}"


@dataclass(frozen=True)
class AnyOf(Expected):
    """One of several."""

    options: tuple[Expected, ...]

    def accepts(self, value: object) -> bool:
        return any(option.accepts(value) for option in self.options)

    def choices(self) -> list[object]:
        return [choice for option in self.options for choice in option.choices()]

    def __str__(self) -> str:
        return " or ".join(dict.fromkeys(str(option) for option in self.options))


def expected(annotation: ast.AST | None, module: Module, depth: int = 0) -> Expected | None:
    """What an annotation written in `module` accepts; None where it is not checked."""
    if annotation is None or depth > _DEEPEST:
        return None
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return Choice((None,))
        return _quoted(annotation.value, module, depth) if isinstance(annotation.value, str) else None
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _any_of([annotation.left, annotation.right], module, depth)
    if isinstance(annotation, ast.Subscript):
        return _subscript(annotation, module, depth)
    found = definition(resolve(annotation, module))
    if found is None:
        return None
    if found.node is not None:
        is_alias = isinstance(found.node, ast.Subscript | ast.BinOp | ast.Constant) and found.module is not None
        return expected(found.node, found.module, depth + 1) if is_alias and found.module else None
    if found.dotted in _SCALARS:
        return Scalar(_SCALARS[found.dotted])
    name = _typing_name(found.dotted)
    return ListOf() if name in _LISTS else MappingOf() if name in _MAPPINGS else None


def _quoted(text: str, module: Module, depth: int) -> Expected | None:
    try:
        return expected(ast.parse(text.strip(), mode="eval").body, module, depth + 1)
    except SyntaxError:
        return None


def _typing_name(dotted: str) -> str:
    home, _, name = dotted.rpartition(".")
    return name.lower() if home in _TYPING else ""


def _subscript(annotation: ast.Subscript, module: Module, depth: int) -> Expected | None:
    found = definition(resolve(annotation.value, module))
    if found is None or found.node is not None:
        return None
    inner = annotation.slice
    arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    name = _typing_name(found.dotted)
    if name == "optional":
        return _any_of([inner, ast.Constant(None)], module, depth)
    if name == "union":
        return _any_of(arguments, module, depth)
    if name == "literal":
        return _literal(arguments, module)
    if name in ("annotated", "final"):
        return expected(arguments[0], module, depth + 1)
    if found.dotted == "os.PathLike":
        return Scalar("path")
    parts = [expected(argument, module, depth + 1) for argument in arguments]
    if name == "tuple" and not _is_ellipsis(arguments[-1]):
        return ListOf(items=tuple(parts))
    if name in _LISTS:
        return ListOf(parts[0])
    return MappingOf(*parts) if name in _MAPPINGS and len(parts) == 2 else None


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _literal(arguments: list[ast.expr], module: Module) -> Expected | None:
    values: list[object] = []
    for argument in arguments:
        try:
            values.append(ast.literal_eval(argument))
        except ValueError:  # the name of another Literal, or of an Enum's member
            nested = expected(argument, module)
            if not isinstance(nested, Choice):
                return None
            values += nested.values
    return Choice(tuple(values))


def _any_of(parts: list[ast.expr], module: Module, depth: int) -> Expected | None:
    """A union; one unchecked part makes it unchecked, except a tensor, which no configuration can hold."""
    options: list[Expected] = []
    for part in parts:
        option = expected(part, module, depth + 1)
        if option is None:
            found = resolve(part, module) if isinstance(part, ast.Name | ast.Attribute) else None
            if found is None or found.dotted not in ("torch.Tensor", "torch.nn.Parameter"):
                return None
        elif isinstance(option, AnyOf):
            options += option.options
        else:
            options.append(option)
    return AnyOf(tuple(options)) if options else None


def mismatch(value: Any, parameter: Parameter) -> str | None:
    """Why `value` does not fit the parameter, with the remedy where it is plain; None if nothing is wrong.

    The parameter's own default always fits, whatever its annotation says (`size: int = None`).
    """
    wanted = expected(parameter.annotation, parameter.module)
    if fits(value, wanted) or _is_default(value, parameter.default):
        return None
    kind = {
        bool: "a truth value",
        int: "an int",
        float: "a float",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    got = kind.get(type(value), "null")
    if isinstance(value, str | list) and (not value or isinstance(value, list)):
        got = f"{got} of length {len(value)}"
    return f"expected {wanted}, got {got}{_hint(value, wanted)}" if wanted else None


def _is_default(value: object, default: ast.expr | None) -> bool:
    if not isinstance(default, ast.Constant):
        return False
    return type(default.value) is type(value) and default.value == value


def _hint(value: object, wanted: Expected) -> str:
    options = wanted.options if isinstance(wanted, AnyOf) else (wanted,)
    scalars = {option.name for option in options if isinstance(option, Scalar)}
    if isinstance(value, str):
        near = nearest(value, [show(choice) for choice in wanted.choices()])
        if near:
            return f". Did you mean {near!r}?"
        number = _number(value)
        if number is not None and (scalars & {"float"} or (scalars & {"int"} and number == int(number))):
            return f". Write the number without quotes: {_written(number, 'float' in scalars)}"
        if "bool" in scalars and value.lower() in ("yes", "no", "on", "off"):
            return f". Write {'true' if value.lower() in ('yes', 'on') else 'false'}"
        if any(isinstance(option, ListOf) for option in options):
            return f". Write [{value}]"
    if isinstance(value, float) and "int" in scalars and value.is_integer():
        return f". Write {int(value)}"
    if isinstance(value, int | float) and not isinstance(value, list | dict):
        if "bool" in scalars and value in (0, 1):
            return f". Write {'true' if value else 'false'}"
        if any(isinstance(option, ListOf) for option in options):
            return f". Write [{show(value)}]"
        if scalars & {"str", "path"}:
            return f". To have it as text, quote it twice: \"'{show(value)}'\""
    return ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _written(number: float, as_float: bool) -> str:
    """A number as YAML 1.1 reads it back: 1e-5 is text there, 1.0e-5 a number."""
    text = repr(number) if as_float else str(int(number))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def show(value: object) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    return str(value)
