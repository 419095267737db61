"""argparse from the registry: one command per operation, one flag per field of its parameter model."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from cc_orchestrator import __version__
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.registry import Operation

_GIVEN = argparse.SUPPRESS
#: The most that is read of a text from a file or stdin; the parameter's own limit is below it.
MAX_TEXT = 8_000_000


class Parser(argparse.ArgumentParser):
    """Mistakes are InvalidRequest like all others, so that `--json` and the exit status hold for them too."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage."""
        raise InvalidRequest(f"{self.prog}: {message}", hint=f"{self.prog} --help")


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="cc-orchestrator", description="Hand bounded work to coding CLIs, watch them, prove their work and accept it.",
        epilog="`cc-orchestrator mcp` is the MCP server. `cc-orchestrator COMMAND --help` explains a command.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"cc-orchestrator {__version__}")
    parser.add_argument("--json", action="store_true", default=False, help="print the answer as JSON")
    parser.add_argument("-C", "--directory", metavar="DIR", help="act as if started in DIR")
    commands = parser.add_subparsers(dest="_command", metavar="COMMAND", required=True)
    for op in operations():
        command = commands.add_parser(
            " ".join(op.words), help=op.summary, description=op.description or op.summary,
            aliases=[alias.removeprefix("cc_").replace("_", "-") for alias in op.aliases if _free(alias, op)],
        )  # fmt: skip
        command.set_defaults(_op=op.name)
        command.add_argument("--json", action="store_true", default=_GIVEN, help="print the answer as JSON")
        for name, field in op.params.model_fields.items():
            _add(command, op, name, field)
    return parser


def _free(alias: str, op: Operation) -> bool:
    words = alias.removeprefix("cc_").replace("_", "-")
    return all(words != " ".join(other.words) for other in operations()) and words != " ".join(op.words)


def _add(command: argparse.ArgumentParser, op: Operation, name: str, field: FieldInfo) -> None:
    kind = plain_type(field.annotation)
    text = (field.description or "").replace("%", "%%")
    flag = "--" + name.replace("_", "-")
    options: dict[str, Any] = {"help": text, "default": _GIVEN}
    origin = get_origin(kind)
    if kind is bool:
        command.add_argument(flag, action=argparse.BooleanOptionalAction, dest=name, **options)
        return
    if origin is Literal:
        options["choices"] = [str(value) for value in get_args(kind)]
    elif origin is list:
        options["nargs"] = "+"
    elif kind in (int, float):
        options["type"] = kind
    else:
        options["metavar"] = "JSON" if kind is not str else name.upper()
    long_text = name in op.long_texts
    if long_text:
        command.add_argument(
            f"{flag}-file", dest=f"_{name}_file", metavar="FILE", default=_GIVEN, help=f"read {name} from a file, `-` for stdin",
        )  # fmt: skip
    if name == op.positional:
        if (long_text or not field.is_required()) and "nargs" not in options:
            options["nargs"] = "?"
            if "choices" in options:
                # argparse holds even the default of what is left out against the choices; the model checks what is given.
                options["metavar"] = "{" + ",".join(options.pop("choices")) + "}"
        command.add_argument(name, **options)
        return
    command.add_argument(flag, dest=name, required=field.is_required() and not long_text, **options)


def plain_type(annotation: Any) -> Any:
    """The type without Annotated and without `| None`."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    options = [option for option in get_args(annotation) if option is not type(None)]
    if len(options) == 1 and type(None) in get_args(annotation):
        return plain_type(options[0])
    return annotation


def arguments(op: Operation, given: argparse.Namespace) -> dict[str, Any]:
    """The raw arguments of an operation from what was typed. InvalidRequest for JSON that is none."""
    raw: dict[str, Any] = {}
    for name, field in op.params.model_fields.items():
        if hasattr(given, f"_{name}_file"):
            if getattr(given, name, None) is not None:
                raise InvalidRequest(f"{op.name}: {name} is given twice, as an argument and as a file")
            raw[name] = read_text(getattr(given, f"_{name}_file"))
            continue
        if not hasattr(given, name):
            continue
        value = getattr(given, name)
        kind = plain_type(field.annotation)
        if isinstance(value, str) and kind is not str and get_origin(kind) is not Literal:
            value = _json(op, name, value, text_is_fine=str in get_args(kind))
        raw[name] = value
    return raw


def read_text(path: str) -> str:
    """A text from a file or, for `-`, from stdin: no limit of argv, nothing for `ps` to see. Raises InvalidRequest."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_TEXT + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise InvalidRequest(f"{os.path.abspath(path)} cannot be read: {error.strerror}") from error
    if len(data) > MAX_TEXT:
        raise InvalidRequest(f"{path} holds more than {MAX_TEXT} bytes")
    return data.decode("utf-8", "replace")


def _json(op: Operation, name: str, text: str, *, text_is_fine: bool) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        if text_is_fine:
            return text
        raise InvalidRequest(
            f"{op.name}: --{name.replace('_', '-')} is no JSON: {error}", hint="""quote it: '{"key": "value"}'"""
        ) from None
