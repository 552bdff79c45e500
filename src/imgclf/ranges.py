"""Ranges of constructors' arguments, as annotations of them, by which imgclf.check judges a configuration."""

import json
import re
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
AtLeast2 = Annotated[int, Field(ge=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionAbove0 = Annotated[float, Field(gt=0, le=1)]
FractionBelow1 = Annotated[float, Field(ge=0, lt=1)]
NumberFrom0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NumberAbove0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_UNDECIDED = ("needs_python_object", "enum")  # the latter may be given by name, as torchvision's weights
_LONGEST = 200  # letters of what is expected
_SMALLEST_IS_BEST = re.compile(r"(best/)?(\w+/)?[^/]*(loss|err|nll|ece|brier|perplexity|hamming|hinge|seconds)")


def smaller_is_better(metric: str) -> bool:
    """Whether ``val/loss``, ``best/val/ece`` or ``seconds`` is better the smaller it is, by its name."""
    return _SMALLEST_IS_BEST.match(metric) is not None


def mismatch(value: Any, annotation: Any) -> str | None:
    """Why a plain value does not fit an annotation, in pydantic's words; None if it does, or nobody can tell.

    Values are read as JSON, where a list may become a tuple and a text a path, but "1" is no number.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        said = [e["msg"] for e in error.errors(include_url=False) if e["type"] not in _UNDECIDED]
        return " or ".join(dict.fromkeys(said))[:_LONGEST] or None
    except Exception:  # such as an annotation that is none, or a value that is an object
        return None
    return None
