"""Files of a run folder, read so that a damaged one is named and stops nothing."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import yaml

from imgclf.report.text import first_line, number

try:
    from yaml import CSafeLoader as _Base  # ten times as fast
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

_LARGEST = 64 * 2**20  # bytes; a larger file is none that a run has written
_DEEPEST = 40  # levels of a configuration
_MOST_VALUES = 20_000  # in one file; aliases can make thousands of millions out of a few lines
_LAST_EPOCH = 10**9


class DamagedError(Exception):
    """A file that is there but cannot be used; the message says why."""


class _Loader(_Base):
    """Safe also against what fills the memory or the stack.

    Without YAML's merge keys, which nothing here writes; and with an end to nesting, which libyaml's loader follows
    until the process crashes.
    """

    depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self.depth += 1
        if self.depth > 2 * _DEEPEST:
            raise DamagedError("is nested too deeply")
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        self.depth -= 1
        super().ascend_resolver()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        pass


def text_of(file: Path) -> str | None:
    """Contents of a file in UTF-8; None where there is none.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        if not file.exists():
            return None
        if not file.is_file():
            raise DamagedError("is no file")
        if file.stat().st_size > _LARGEST:
            raise DamagedError(f"is larger than {_LARGEST // 2**20} MiB")
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"is no text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DamagedError(error.strerror or type(error).__name__) from error


def read_json(file: Path) -> dict[str, Any] | None:
    """A JSON object of plain values; None where there is no file.

    Raises:
        DamagedError: it is anything else.
    """
    text = text_of(file)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"is no JSON: {first_line(str(error))}") from error
    return _object(content)


def read_yaml(file: Path) -> dict[str, Any] | None:
    """A YAML mapping of plain values; None where there is no file.

    Raises:
        DamagedError: it is anything else.
    """
    content = _yaml(file)
    return None if content is None else _object(content)


def read_yaml_list(file: Path) -> list[str] | None:
    """A YAML list of texts; None where there is no file.

    Raises:
        DamagedError: it is anything else.
    """
    content = _yaml(file)
    if content is None:
        return None
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise DamagedError("is no list of texts")
    return content


def _yaml(file: Path) -> Any:
    text = text_of(file)
    if text is None:
        return None
    try:
        content = yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises many kinds for damaged files, also ValueError for a 31st of February
        raise DamagedError(f"is no YAML: {first_line(str(error)) or type(error).__name__}") from error
    if content is None:
        raise DamagedError("is empty")
    return content


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise DamagedError("has no keys")
    return {str(key): value for key, value in _Plain().of(content).items()}


class _Plain:
    """Turns what YAML and JSON can hold (dates, bytes, sets, cycles) into texts, numbers, lists and mappings."""

    def __init__(self) -> None:
        self.values = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self.values += 1
        if depth > _DEEPEST or self.values > _MOST_VALUES:
            raise DamagedError("holds too much for a configuration")
        if isinstance(value, dict):
            return {self.key(key): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, int) and value.bit_length() > 256:
            return hex(value)  # no Python float, and too long to be written in decimals
        return value if value is None or isinstance(value, str | int | float | bool) else str(value)

    def key(self, key: Any) -> str:
        return str(self.of(key, _DEEPEST))


class Table:
    """metrics.csv: epochs, and for each column a number an epoch, not-a-number where there is none."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.columns: dict[str, list[float]] = {}

    def __bool__(self) -> bool:
        return bool(self.epochs)


def read_table(file: Path) -> tuple[Table, list[str]]:
    """What can be used of metrics.csv.

    Returns:
        The table, empty where there is no file; and what is wrong with the file.
    """
    table = Table()
    try:
        text = text_of(file)
    except DamagedError as error:
        return table, [str(error)]
    if text is None:
        return table, []
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows: dict[int, dict[str, float]] = {}
    bad_lines: list[int] = []
    names: list[str] = []
    reason = ""
    try:
        names = list(dict.fromkeys(name for name in reader.fieldnames or [] if name != "epoch"))
        if "epoch" not in (reader.fieldnames or []):
            return table, ["has no column epoch"]
        for row in reader:
            numbers, whole = _numbers(row, names)
            if not whole:
                bad_lines.append(reader.line_num)
            if numbers is not None:
                rows[int(numbers.pop("epoch"))] = numbers
    except csv.Error as error:
        bad_lines.append(reader.line_num)
        reason = f" ({first_line(str(error))})"
    table.epochs = sorted(rows)
    table.columns = {name: [rows[epoch].get(name, math.nan) for epoch in table.epochs] for name in names}
    if bad_lines:
        more = f" and {len(bad_lines) - 1} more" if len(bad_lines) > 1 else ""
        return table, [f"line {bad_lines[0]}{more} cannot be read{reason}"]
    return table, []


def _numbers(row: dict[Any, Any], names: list[str]) -> tuple[dict[str, float] | None, bool]:
    """The numbers of one line, None without an epoch; and whether the whole line was in order."""
    try:
        epoch = int(row["epoch"])
        assert 0 <= epoch <= _LAST_EPOCH
    except (TypeError, ValueError, AssertionError):
        return None, False
    whole = None not in row
    numbers: dict[str, float] = {"epoch": epoch}
    for name in names:
        cell = row.get(name)
        if cell is None:
            whole = False
        elif cell != "":
            value = number(cell)
            if value is not None:
                numbers[name] = value
            elif cell.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity"):
                whole = False
    return numbers, whole
