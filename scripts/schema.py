"""Write conf/schema.json, by which an editor completes, explains and checks conf/: ``uv run scripts/schema.py``.

A mapping with a ``_target_`` takes the arguments of what that names; one without, such as an experiment's ``model``,
those of any in its group. A file of conf/ names the schema in a comment.
"""

import inspect
import json
import re
from typing import Any

from hydra.utils import get_object
from pydantic import ConfigDict, PydanticUserError, TypeAdapter

from imgclf.arguments import CONF
from imgclf.check import HYDRA_KEYS, SUPPLIED, arguments_of

GROUPS = ("data", "model", "optimizer", "schedule", "trainer")
REFERENCE = {"type": ["string", "null"], "pattern": r"\$\{|^\?\?\?$"}  # null: yet to be given
OBJECT = {"type": "object", "required": ["_target_"]}


def form(target: str, group: str) -> dict[str, Any]:
    """The keys of a node of this target, each with its type and what a docstring says of it."""
    made = get_object(target)
    texts: dict[str, str] = {}
    for source in reversed(inspect.getmro(made)) if inspect.isclass(made) else [made]:
        for doc in (source.__doc__, source.__init__.__doc__):  # Lightning's Trainer tells in the latter
            lines = re.findall(r"^ +(\w+)(?: \(.*\))?: (.*(?:\n {5,}.*)*)", inspect.cleandoc(doc or ""), re.M)
            texts |= {name: " ".join(text.split()) for name, text in lines}
    taken, _, takes_any = arguments_of(made)
    keys: dict[str, Any] = {key: {} for key in HYDRA_KEYS | {"defaults"}}
    for name in taken.keys() - SUPPLIED.get(group, set()):
        try:
            adapter = TypeAdapter(taken[name].annotation, config=ConfigDict(arbitrary_types_allowed=True))
            kind = adapter.json_schema()
        except PydanticUserError:  # an annotation of what is not installed, or has no form in JSON, such as a module
            kind = {}
        keys[name] = {"anyOf": [kind, refer("reference"), refer("object")], "description": texts.get(name, "")}
    return {"properties": keys, "additionalProperties": takes_any}


def refer(*path: str) -> dict[str, str]:
    """To a definition."""
    return {"$ref": "/".join(("#/definitions", *path))}


def schema() -> dict[str, Any]:
    """That of any file of conf/; of a group's files under ``definitions``."""
    named: dict[str, str] = {}
    for group in sorted({file.parent.name for file in CONF.glob("*/*.yaml")} - {"search"}):
        text = "".join(file.read_text(encoding="utf-8") for file in CONF.glob(f"{group}/*.yaml"))
        named |= dict.fromkeys(sorted(re.findall(r"_target_: ([\w.]+)", text)), group)
    definitions: dict[str, Any] = {target: form(target, group) for target, group in named.items()}
    rules = [{"if": OBJECT | {"properties": {"_target_": {"const": t}}}, "then": refer(t)} for t in named]
    node = {"allOf": rules, "additionalProperties": refer("node"), "items": refer("node")}
    for group in GROUPS:
        targets = [target for target, of in named.items() if of == group]
        keys = {
            key: refer(target, "properties", key) for target in targets for key in definitions[target]["properties"]
        }
        union = {"if": {"required": ["_target_"]}, "else": {"properties": keys, "additionalProperties": False}}
        definitions[group] = {"allOf": [refer("node"), union]}
    definitions |= {"node": node, "reference": REFERENCE, "object": OBJECT}
    return {"allOf": [refer("node")], "properties": {g: refer(g) for g in GROUPS}, "definitions": definitions}


if __name__ == "__main__":
    text = json.dumps(schema(), sort_keys=True)
    (CONF / "schema.json").write_text(text + "\n", encoding="utf-8")
