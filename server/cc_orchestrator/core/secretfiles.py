"""Names of files that hold secrets by habit: never lent to a worker without a grant. Pure."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"(?i)(?:^|/)(?:\.env(?:\.[\w.-]+)?|\.envrc|\.netrc|\.npmrc|\.pypirc|\.git-credentials|\.pgpass|\.htpasswd|\.vault[\w.-]*|credentials(?:\.\w+)?"
    r"|secrets?(?:\.\w+)?|service[-_]?account[\w.-]*\.json|id_(?:rsa|dsa|ecdsa|ed25519)(?:\.pub)?"
    r"|[^/]+\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc)|\.ssh|\.aws|\.gnupg|\.kube|\.docker|\.azure)(?:/|$)"
)
_PLAIN = re.compile(r"(?i)\.env\.(?:example|sample|template|dist)$")


def is_secret_file(path: str) -> bool:
    """Whether a path (with slashes) names a file or folder of secrets; examples without secrets are none."""
    return _NAMES.search(path) is not None and _PLAIN.search(path) is None
