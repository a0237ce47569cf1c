"""What an ONNX file asks for: the names and shapes of its inputs, read straight from its bytes.

OpenCV runs such files but does not say what their inputs are called. An ONNX file is a protobuf message; only the
few fields on the way to the inputs are looked at (numbers from the published onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lia_live.errors import StorageError, WeightsError

MAX_BYTES: Final = 2**30
"""The largest networks meant here have 250 MB."""

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT = 5, 11
_TENSOR_NAME = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_VALUE = 1, 2, 1, 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

HINT: Final = "give an ONNX file as docs/evaluation.md describes"


@dataclass(frozen=True)
class Input:
    """One input of a network."""

    name: str
    shape: tuple[int | None, ...]
    """None: any length."""


def read_onnx(path: Path) -> tuple[bytes, list[Input]]:
    """The file's bytes and its inputs. Raises ``WeightsError``, ``StorageError``."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise WeightsError(f"{path} is no file", HINT)
        if size > MAX_BYTES:
            raise WeightsError(
                f"{path} has {size / 1e6:.0f} MB, more than any network for this", HINT
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}", HINT) from None
    except PermissionError as error:
        raise StorageError(f"{path} may not be read", "change its permissions") from error
    try:
        inputs = _inputs(memoryview(data))
    except (ValueError, IndexError):  # not protobuf, or cut short
        inputs = []
    if not inputs:
        raise WeightsError(f"{path} is not an ONNX file, or damaged", HINT)
    return data, inputs


def _inputs(data: memoryview) -> list[Input]:
    graph = next((bytes_ for number, bytes_ in _fields(data) if number == _MODEL_GRAPH), None)
    if not isinstance(graph, memoryview):
        return []
    inputs: list[Input] = []
    weights: set[str] = set()
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == _GRAPH_INPUT:
            inputs.append(_input(value))
        elif number == _GRAPH_INITIALIZER:  # old files list the weights among the inputs too
            weights.update(_text(v) for n, v in _fields(value) if n == _TENSOR_NAME)
    return [one for one in inputs if one.name not in weights]


def _input(data: memoryview) -> Input:
    name, shape = "", None
    for number, value in _fields(data):
        if number == _VALUE_NAME:
            name = _text(value)
        elif number == _VALUE_TYPE:
            shape = _inside(_inside(value, _TYPE_TENSOR), _TENSOR_SHAPE)
    dims = [] if shape is None else [v for n, v in _fields(shape) if n == _SHAPE_DIM]
    return Input(name, tuple(_length(dim) for dim in dims))


def _length(dim: memoryview | int) -> int | None:
    if isinstance(dim, int):
        raise ValueError("a dimension must be a message")
    for number, value in _fields(dim):
        if number == _DIM_VALUE and isinstance(value, int) and 0 < value < 2**31:
            return value
    return None


def _inside(data: memoryview | int | None, wanted: int) -> memoryview | None:
    if not isinstance(data, memoryview):
        return None
    for number, value in _fields(data):
        if number == wanted and isinstance(value, memoryview):
            return value
    return None


def _text(value: memoryview | int) -> str:
    if isinstance(value, int):
        raise ValueError("a name must be text")
    return bytes(value).decode("utf-8", "replace")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of one protobuf message: (number, bytes or integer). Raises ``ValueError``, ``IndexError``."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"no such kind of field: {kind}")
        if at + length > len(data):
            raise ValueError("cut short")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
