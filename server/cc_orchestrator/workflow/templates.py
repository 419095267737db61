"""The prompts that we write for workers: Markdown files with front matter in `prompt_pack/`, rendered strictly.

Front matter: `name`, `role`, `contract` (a file beside it, or `none`), `inputs` (exactly the names that stand as `{{name}}` in the
text) and `untrusted` (those of them that others wrote: they are fenced as data by marks that cannot stand in them).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import yaml

from cc_orchestrator.core.errors import Internal
from cc_orchestrator.core.text import clean
from cc_orchestrator.store.assets import asset_folder

_SLOT = re.compile(r"\{\{([a-z_]+)\}\}")
_KEYS = frozenset({"name", "role", "contract", "inputs", "untrusted"})


class Template(NamedTuple):
    """One prompt. `contract` is the file name of the schema of its answer, or `none`."""

    name: str
    role: str
    contract: str
    inputs: frozenset[str]
    untrusted: frozenset[str]
    body: str


def read_template(name: str) -> Template:
    """A template of the prompt pack. Raises Internal when it is not sound, Unavailable without a prompt pack."""
    return parse_template(read_asset(f"{name}.md"), name)


def read_asset(name: str) -> str:
    """A text file of the prompt pack."""
    path = os.path.join(asset_folder("prompt_pack"), name)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Internal(f"the prompt pack lacks {name}", hint="install cc-orchestrator again") from error


def parse_template(text: str, name: str) -> Template:
    """From the file's text. Raises Internal that says what is wrong with it."""
    _nothing, _mark, rest = text.partition("---\n")
    head, mark, body = rest.partition("\n---\n")
    raw: Any = yaml.safe_load(head) if mark and not _nothing else None
    if not isinstance(raw, dict) or frozenset(cast("dict[str, Any]", raw)) != _KEYS:
        raise Internal(f"the template {name} has no front matter with exactly {', '.join(sorted(_KEYS))}")
    fields = cast("dict[str, Any]", raw)
    found = Template(
        str(fields["name"]), str(fields["role"]), str(fields["contract"]), frozenset(fields["inputs"] or ()),
        frozenset(fields["untrusted"] or ()), body.lstrip("\n"),
    )  # fmt: skip
    slots = frozenset(_SLOT.findall(body))
    if found.name != name or slots != found.inputs or not found.untrusted <= found.inputs:
        raise Internal(f"the template {name} names {sorted(found.inputs)} and uses {sorted(slots)}")
    return found


def render(template: Template, values: Mapping[str, str], nonce: str) -> str:
    """The prompt. Raises Internal when an input is missing or nobody asked for one. `nonce`: 16 or more random characters."""
    if frozenset(values) != template.inputs:
        missing, more = sorted(template.inputs - frozenset(values)), sorted(frozenset(values) - template.inputs)
        raise Internal(f"the template {template.name}: missing {missing}, not asked for {more}")

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        return fence(values[name], nonce) if name in template.untrusted else values[name]

    # One pass: what is filled in is never looked at for slots.
    return _SLOT.sub(fill, template.body)


def fence(text: str, nonce: str) -> str:
    """`text` as untrusted data between two marks."""
    body = clean(text).replace(nonce, "").strip() or "(nothing)"
    return f"<<<UNTRUSTED DATA {nonce}\n{body}\nEND OF UNTRUSTED DATA {nonce}>>>"
