"""Ranges of constructors' arguments: said once, in their annotations, for the command line and for Python alike."""

from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from imgclf.errors import InputError

AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
AtLeast2 = Annotated[int, Field(ge=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionAbove0 = Annotated[float, Field(gt=0, le=1)]
FractionBelow1 = Annotated[float, Field(ge=0, lt=1)]
NumberFrom0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NumberAbove0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_PLAIN = (bool, int, float, str, list, tuple, type(None))  # what a configuration holds; objects are left to Python


def require(place: str, annotated: Any, given: Mapping[str, Any]) -> None:
    """Refuse plain values that do not fit the annotations of a class or function, as check.py does for a configuration.

    Args:
        place: where the configuration has them, such as ``model``.
        annotated: the class or function.
        given: values by argument; others than arguments are passed over, so that ``locals()`` will do.

    Raises:
        InputError: with key, value and what is expected of the first that does not fit.
    """
    for name, annotation in get_type_hints(annotated, include_extras=True).items():
        if name in given and isinstance(given[name], _PLAIN):
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
            try:
                adapter.validate_python(given[name], strict=True)
            except ValidationError as error:
                expected = " or ".join(dict.fromkeys(e["msg"] for e in error.errors(include_url=False)))
                raise InputError(f"{place}.{name}={given[name]!r}: {expected}") from None
