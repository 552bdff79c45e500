"""Constructor signatures read from source files: nothing is imported, so a look costs milliseconds.

A dotted target is followed the way Python would follow it (re-exports, star imports, base classes), on syntax
trees. Only what is certain is reported: a name that is bound in two branches, comes from a compiled module or
is made at run time is unknown, and the unknown is not checked. Over 300 lines, since looking up a name needs
the bases of classes, and reading a class needs the lookup of names.
"""

import ast
import builtins
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from imgclf.config import nearest
from imgclf.errors import InputError

PROJECT = __name__.partition(".")[0]
"""Top-level package whose sources are ours: here a name that cannot be found is an error, not an unknown."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_NO_CONSTRUCTOR = re.compile(r"builtins\.object|abc\.ABC|(typing|typing_extensions)\.\w+|collections\.abc\.\w+")
_DEEPEST = 40  # re-exports in a row; more is a circle


@dataclass(frozen=True, eq=False)
class Module:
    """One source file, parsed when its names are asked for; a namespace package has an empty one."""

    name: str
    is_package: bool
    source: bytes
    file: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree; raises SyntaxError."""
        return ast.parse(self.source, self.file)

    @cached_property
    def bindings(self) -> dict[str, ast.AST | None]:
        """Name -> what binds it; None where branches bind it differently: only running it would tell."""
        names: dict[str, ast.AST | None] = {}
        for statement, in_branch in _statements(self.tree.body, False):
            for name in _bound(statement):
                names[name] = None if in_branch and name in names else statement
        return names

    @cached_property
    def stars(self) -> list[str]:
        """Modules imported with a star, the last (which wins) first."""
        imports = (s for s, _ in _statements(self.tree.body, False) if isinstance(s, ast.ImportFrom))
        return [self.absolute(s) for s in imports if s.names[0].name == "*"][::-1]

    def absolute(self, statement: ast.ImportFrom) -> str:
        """Dotted name of the module that a (relative) import speaks of."""
        if not statement.level:
            return statement.module or ""
        parts = self.name.split(".")
        kept = parts[: len(parts) - statement.level + self.is_package]
        return ".".join([*kept, statement.module] if statement.module else kept)


@dataclass(frozen=True)
class Found:
    """What a dotted name stands for: a definition or expression with its module, or a bare name (no node)."""

    dotted: str
    module: Module | None = None
    node: ast.AST | None = None


@dataclass(frozen=True)
class Parameter:
    """One parameter; names in the expressions `annotation` and `default` are to be looked up in `module`."""

    name: str
    kind: inspect._ParameterKind
    annotation: ast.expr | None
    default: ast.expr | None
    has_default: bool
    module: Module


@dataclass(frozen=True)
class Signature:
    """Parameters in order, without `self`; `accepts_any`: there is a `**kwargs` nobody can see through."""

    target: str
    parameters: dict[str, Parameter]
    accepts_any: bool

    @property
    def keywords(self) -> list[str]:
        """Names that can be given as `name=value`."""
        return [p.name for p in self.parameters.values() if p.kind is not inspect.Parameter.POSITIONAL_ONLY]


def signature(target: str, project: str = PROJECT) -> Signature | None:
    """Signature of the class, function or `Class.method` that a `_target_` names; None where it is unknown.

    Raises InputError, with the nearest existing name, if the package is not installed, or if a target inside
    `project` does not exist or its file cannot be parsed.
    """
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise InputError(f"{target!r} is no dotted path of a class or function; write package.module.Name")
    if parts[0] in sys.stdlib_module_names:
        return None
    if _spec(parts[0]) is None:
        near = nearest(parts[0], {module.name for module in pkgutil.iter_modules()} | {project})
        hint = f"did you mean {near!r}?" if near else "install it or mend the name"
        raise InputError(f"{target}: no package {parts[0]!r} is installed; {hint}")
    try:
        return _signature(target, project)
    except (SyntaxError, UnicodeDecodeError, RecursionError) as error:
        if parts[0] == project:
            raise InputError(f"{target}: its source cannot be read: {error}; mend that file") from error
        return None


def _signature(target: str, project: str) -> Signature | None:
    found = definition(lookup_dotted(target, {}))
    if found is None or found.node is None:
        if target.partition(".")[0] == project and not _made_at_run_time(target):
            raise InputError(_no_such_target(target, project))
        return None
    if isinstance(found.node, ast.ClassDef):
        return _constructor(target, _chain(found), project)
    if isinstance(found.node, _Function) and found.module is not None:
        return _function(target, found.node, found.module, _is_bound(found))
    return None


# --- modules and names ---


def _spec(top: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)  # of a top-level name: imports nothing
    except (ImportError, ValueError):
        return None


def find_module(dotted: str) -> Module | None:
    """Source of a module, found on disk; None if there is none (absent, compiled, built in)."""
    top, *rest = dotted.split(".")
    spec = _spec(top)
    if spec is None:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    file = Path(spec.origin) if spec.origin else None
    for part in rest:
        for folder in folders:
            if (folder / part / "__init__.py").is_file():
                file, folders = folder / part / "__init__.py", [folder / part]
                break
            if (folder / f"{part}.py").is_file():
                file, folders = folder / f"{part}.py", []
                break
        else:
            file, folders = None, [folder / part for folder in folders if (folder / part).is_dir()]
            if not folders:
                return None
    if file is None:
        return Module(dotted, True, b"", "")
    if file.suffix != ".py" or not file.is_file():
        return None
    return _read(dotted, file, file.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(dotted: str, file: Path, _changed: int) -> Module:
    return Module(dotted, file.name == "__init__.py", file.read_bytes(), str(file))


def _statements(body: list[ast.stmt], in_branch: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for statement in body:
        yield statement, in_branch
        if isinstance(statement, ast.If | ast.Try | ast.With):
            blocks = [statement.body, getattr(statement, "orelse", []), getattr(statement, "finalbody", [])]
            blocks += [handler.body for handler in getattr(statement, "handlers", [])]
            for block in blocks:
                yield from _statements(block, not isinstance(statement, ast.With) or in_branch)


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | _Function):
        return [statement.name]
    if isinstance(statement, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names if alias.name != "*"]
    if isinstance(statement, ast.Assign):
        names = [n for target in statement.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return [n.id for n in names if isinstance(n.ctx, ast.Store)]  # not the SGD of `SGD.__doc__ = ...`
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    alias_name = getattr(statement, "name", None)  # `type X = ...` of Python 3.12
    return [alias_name.id] if isinstance(alias_name, ast.Name) else []


def lookup(name: str, module: Module, seen: dict[str, None]) -> Found | None:
    """What `name` stands for inside `module`; `seen` stops circles of re-exports."""
    key = f"{module.name}:{name}"
    if key in seen or len(seen) > _DEEPEST:
        return None
    seen = {**seen, key: None}
    if name in module.bindings:
        return _follow(name, module.bindings[name], module, seen)
    for star in module.stars:
        other = find_module(star)
        if other is not None and _exports(other, name):
            found = lookup(name, other, seen)
            if found is not None and not found.dotted.startswith("builtins."):
                return found
    if module.is_package and find_module(f"{module.name}.{name}"):
        return Found(f"{module.name}.{name}")
    return Found(f"builtins.{name}") if hasattr(builtins, name) else None


def _exports(module: Module, name: str) -> bool:
    if name.encode() not in module.source and b"import *" not in module.source:
        return False  # spares parsing it
    listed = module.bindings.get("__all__")
    if isinstance(listed, ast.Assign) and isinstance(listed.value, ast.List | ast.Tuple):
        return name in {e.value for e in listed.value.elts if isinstance(e, ast.Constant)}
    return not name.startswith("_")


def _follow(name: str, bound: ast.AST | None, module: Module, seen: dict[str, None]) -> Found | None:
    here = f"{module.name}.{name}"
    if isinstance(bound, ast.ClassDef | _Function):
        return Found(here, module, bound)
    if isinstance(bound, ast.Import):
        for alias in bound.names:
            if alias.asname == name:
                return lookup_dotted(alias.name, seen)
        return Found(name)
    if isinstance(bound, ast.ImportFrom):
        origin = next(alias.name for alias in bound.names if (alias.asname or alias.name) == name)
        return lookup_dotted(f"{module.absolute(bound)}.{origin}", seen)
    if isinstance(bound, ast.Assign) and not all(isinstance(target, ast.Name) for target in bound.targets):
        return None
    value = getattr(bound, "value", None)
    return Found(here, module, value) if isinstance(value, ast.expr) else None


def lookup_dotted(dotted: str, seen: dict[str, None]) -> Found | None:
    """What an absolute dotted name stands for; of the standard library and `torch` itself, only the name."""
    parts = dotted.split(".")
    if parts[0] in sys.stdlib_module_names:
        return Found(dotted)
    # A package's own attribute comes before its submodule of the same name (torchvision.models.googlenet).
    for length in range(len(parts) - 1, 0, -1):
        module = find_module(".".join(parts[:length]))
        if module is None:
            continue
        rest = parts[length:]
        if module.name == "torch":  # 130 kB that fill globals() at run time; its submodules are enough
            return Found(dotted)
        found = lookup(rest[0], module, seen) if f"{module.name}:{rest[0]}" not in seen else None
        if found is None and find_module(f"{module.name}.{rest[0]}"):
            found = Found(f"{module.name}.{rest[0]}")
        if found is not None and found.dotted.startswith("builtins."):
            return None
        return _attributes(found, rest[1:], seen)
    return Found(dotted) if len(parts) == 1 and find_module(dotted) else None


def _attributes(found: Found | None, rest: list[str], seen: dict[str, None]) -> Found | None:
    for index, attribute in enumerate(rest):
        found = definition(found)
        if found is None:
            return None
        if found.node is None:
            return lookup_dotted(".".join([found.dotted, *rest[index:]]), seen)
        if not isinstance(found.node, ast.ClassDef):
            return None
        found = next((m for link in _chain(found) if (m := _member(link, attribute)) is not None), None)
    return found


def resolve(expression: ast.AST | None, module: Module, seen: dict[str, None] | None = None) -> Found | None:
    """What a name, `a.b` or `Base[T]` written in `module` stands for."""
    seen = seen or {}
    if isinstance(expression, ast.Name):
        return lookup(expression.id, module, seen)
    if isinstance(expression, ast.Attribute):
        return _attributes(resolve(expression.value, module, seen), [expression.attr], seen)
    if isinstance(expression, ast.Subscript):
        return resolve(expression.value, module, seen)
    return None


def definition(found: Found | None) -> Found | None:
    """Follow `Name = Other` until a definition, another expression or a bare name is reached."""
    for _ in range(_DEEPEST):
        if found is None or found.module is None or not isinstance(found.node, ast.Name | ast.Attribute):
            return found
        found = resolve(found.node, found.module)
    return None


# --- classes and functions ---


def _member(cls: Found, name: str) -> Found | None:
    """A method or nested class that the class itself defines; with overloads, the last."""
    body = cls.node.body if isinstance(cls.node, ast.ClassDef) else []
    kinds = ast.ClassDef | _Function
    named = [s for s, _ in _statements(body, False) if isinstance(s, kinds) and s.name == name]
    return Found(f"{cls.dotted}.{name}", cls.module, named[-1]) if named else None


def _chain(cls: Found) -> Iterator[Found]:
    """The class and its bases in Python's order of lookup: a base stands behind all that derive from it."""
    yield cls
    order: dict[str, Found] = {}
    for base in _bases(cls, 0):
        order.pop(base.dotted, None)
        order[base.dotted] = base
    yield from order.values()


def _bases(cls: Found, depth: int) -> Iterator[Found]:
    if not isinstance(cls.node, ast.ClassDef) or cls.module is None or depth > _DEEPEST:
        return
    for expression in cls.node.bases:
        base = definition(resolve(expression, cls.module)) or Found(f"?{ast.unparse(expression)}")
        yield base
        yield from _bases(base, depth + 1)


def _constructor(target: str, chain: Iterator[Found], project: str) -> Signature | None:
    for link in chain:
        if link.module is None or not isinstance(link.node, ast.ClassDef):
            if _NO_CONSTRUCTOR.fullmatch(link.dotted):
                continue
            return None
        init = _member(link, "__init__")
        if init is None and (arguments := _dataclass_arguments(link.node, link.module)) is not None:
            return _dataclass(target, link, chain) if arguments else None
        init = init or _member(link, "__new__")
        if init is None:
            continue
        if not isinstance(init.node, _Function):
            return None
        own = _function(target, init.node, link.module, bound=True)
        passed = _passed_on(init.node) if own.accepts_any else None
        if passed is None or link.module.name.partition(".")[0] != project:
            return own
        base = _constructor(target, chain, project)
        return own if base is None else _union(own, base, *passed)
    return Signature(target, {}, False)


def _union(own: Signature, base: Signature, positional: int, named: set[str]) -> Signature:
    """What `**kwargs` lets through to the base: all it takes but what the class hands over itself."""
    ahead = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [p.name for p in base.parameters.values() if p.kind in ahead][:positional]
    free = {
        n: Parameter(n, inspect.Parameter.KEYWORD_ONLY, p.annotation, p.default, p.has_default, p.module)
        for n, p in base.parameters.items()
        if n in base.keywords and n not in named and n not in taken and n not in own.parameters
    }
    return Signature(own.target, {**own.parameters, **free}, base.accepts_any)


def _passed_on(init: _Function) -> tuple[int, set[str]] | None:
    """If `**kwargs` goes to the base's `__init__` and nowhere else: what else it gives, by place and name."""
    kwarg = init.args.kwarg.arg if init.args.kwarg else ""
    uses = [n for n in ast.walk(init) if isinstance(n, ast.Name) and n.id == kwarg]
    for call in (n for n in ast.walk(init) if isinstance(n, ast.Call)):
        func = call.func
        is_base = isinstance(func, ast.Attribute) and func.attr == "__init__" and isinstance(func.value, ast.Call)
        starred = [k.value for k in call.keywords if k.arg is None]
        if is_base and len(uses) == 1 and starred == uses:
            if any(isinstance(argument, ast.Starred) for argument in call.args):
                return None
            return len(call.args), {k.arg for k in call.keywords if k.arg}
    return None


def _function(target: str, node: _Function, module: Module, bound: bool) -> Signature:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    kinds: list[inspect._ParameterKind] = [inspect.Parameter.POSITIONAL_ONLY] * len(arguments.posonlyargs)
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(arguments.args)
    rows = list(zip(plain, kinds, defaults, strict=True))[int(bound) :]
    only: inspect._ParameterKind = inspect.Parameter.KEYWORD_ONLY
    rows += [(a, only, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    parameters = {a.arg: Parameter(a.arg, k, a.annotation, d, d is not None, module) for a, k, d in rows}
    return Signature(target, parameters, arguments.kwarg is not None)


def _is_bound(found: Found) -> bool:
    """Whether Python fills the first parameter: a classmethod reached through its class."""
    decorators = found.node.decorator_list if isinstance(found.node, _Function) else []
    return any(isinstance(d, ast.Name) and d.id == "classmethod" for d in decorators)


def _dataclass_arguments(node: ast.ClassDef, module: Module) -> dict[str, object] | None:
    """Keyword arguments of a dataclass decorator; None without one, empty where it makes no `__init__`."""
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = resolve(call, module)
        if found is None or found.dotted != "dataclasses.dataclass":
            continue
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        given = {k.arg or "": getattr(k.value, "value", None) for k in keywords}
        return {"init": True, **given} if given.get("init", True) else {}
    return None


def _dataclass(target: str, cls: Found, bases: Iterator[Found]) -> Signature | None:
    parameters: dict[str, Parameter] = {}
    for link in reversed([cls, *bases]):
        if link.module is None or not isinstance(link.node, ast.ClassDef):
            if _NO_CONSTRUCTOR.fullmatch(link.dotted):
                continue
            return None
        arguments = _dataclass_arguments(link.node, link.module)
        if arguments is not None:
            parameters |= _fields(link.node, link.module, bool(arguments.get("kw_only")))
    positional = [p for p in parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    named = [p for p in parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    return Signature(target, {p.name: p for p in positional + named}, False)


def _fields(node: ast.ClassDef, module: Module, keyword_only: bool) -> dict[str, Parameter]:
    fields: dict[str, Parameter] = {}
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        annotation, value, only = statement.annotation, statement.value, keyword_only
        written = ast.unparse(annotation).strip("'\"").rpartition("[")[0] or ast.unparse(annotation)
        if "ClassVar" in written:
            continue
        if "KW_ONLY" in written:
            keyword_only = True
            continue
        if "InitVar" in written and isinstance(annotation, ast.Subscript):
            annotation = annotation.slice
        has_default = value is not None
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field"):
            options = {k.arg: k.value for k in value.keywords}
            if "init" in options and getattr(options["init"], "value", True) is False:
                continue
            only = bool(getattr(options.get("kw_only"), "value", only))
            value, has_default = options.get("default"), "default" in options or "default_factory" in options
        kind = inspect.Parameter.KEYWORD_ONLY if only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        name = statement.target.id
        fields[name] = Parameter(name, kind, annotation, value, has_default, module)
    return fields


# --- a target that does not exist ---


def _made_at_run_time(target: str) -> bool:
    """Whether a module on the way has `__getattr__`, or binds the name so that only running it would tell."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = find_module(".".join(parts[:length]))
        if module is not None:
            bound = module.bindings.get(parts[length], "absent")
            imported = isinstance(bound, ast.Import | ast.ImportFrom) and not find_module(target)
            return "__getattr__" in module.bindings or bound is None or imported or _unknown_base(module, parts[length])
    return False


def _unknown_base(module: Module, name: str) -> bool:
    found = definition(lookup(name, module, {}))
    return found is not None and any(link.dotted.startswith("?") for link in _chain(found))


def _no_such_target(target: str, project: str) -> str:
    parts = target.split(".")
    there = _callables(project)
    owner = definition(lookup_dotted(target.rpartition(".")[0], {}))
    if find_module(target) is not None:
        what = "is a module, not a class or function"
        near = nearest(target, [dotted for dotted in there if dotted.startswith(f"{target}.")], 0.0)
    elif owner is not None and isinstance(owner.node, ast.ClassDef):
        what = f"there is no {parts[-1]!r} in class {owner.dotted}"
        bodies = [statement for link in _chain(owner) for statement in getattr(link.node, "body", [])]
        method = nearest(parts[-1], [s.name for s in bodies if isinstance(s, _Function)])
        near = f"{owner.dotted}.{method}" if method else owner.dotted
    else:
        depth = max(n for n in range(1, len(parts)) if find_module(".".join(parts[:n])) is not None)
        what = f"there is no {parts[depth]!r} in {'.'.join(parts[:depth])}"
        name = nearest(parts[-1], {dotted.rpartition(".")[2] for dotted in there})
        near = nearest(target, [dotted for dotted in there if dotted.rpartition(".")[2] == name], 0.0)
    remedy = f"did you mean {near!r}?" if near else f"name a class or function of {project}"
    return f"{target}: {what}; {remedy}"


def _callables(project: str) -> list[str]:
    """Dotted names of all public classes and functions of the project."""
    spec = _spec(project)
    names = []
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).rglob("*.py")):
            parts = [project, *file.relative_to(folder).with_suffix("").parts]
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            defined = re.findall(r"^(?:class|def)\s+([A-Za-z]\w*)", file.read_text(encoding="utf-8"), re.M)
            names += [f"{module}.{name}" for name in defined]
    return names
