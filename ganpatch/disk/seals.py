"""Marks of what this user wrote on this machine: a text and its seal, which only the holder of a secret can make.

    mark = sealed("net.py:Generator")
    is_sealed("net.py:Generator", mark)     # True here; False for what a stranger wrote

The secret is a small file of this user's, made when it is first needed. Where it cannot be, nothing is sealed.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

_LENGTH = 32


def sealed(text: str) -> str:
    """Return the seal of a text, "" where there is no place for a secret."""
    secret = _secret(make=True)
    return _mark(secret, text) if secret else ""


def is_sealed(text: str, mark: str) -> bool:
    """Return whether this user sealed the text."""
    secret = _secret(make=False)
    return secret is not None and hmac.compare_digest(_mark(secret, text), mark)


def _mark(secret: bytes, text: str) -> str:
    content = text.encode(errors="surrogatepass")  # a path may hold bytes that are not UTF-8
    return hmac.new(secret, content, hashlib.sha256).hexdigest()


def _secret(*, make: bool) -> bytes | None:
    """Return the secret, which this user alone can read, or None."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    path = Path(state) / "ganpatch" / "secret"
    try:
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_LENGTH))
        facts = path.lstat()
        if facts.st_size != _LENGTH or facts.st_mode & 0o077 or facts.st_uid != os.getuid():
            return None
        return path.read_bytes()
    except OSError:
        return None
