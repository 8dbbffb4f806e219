"""Writes docs/problems.md from the one table of codes: `python -m hub.http_api.problem_docs > docs/problems.md`."""

from __future__ import annotations

import sys

from hub.domain.refusals import MEANINGS, RefusalCode
from hub.http_api.problems import INTERNAL, STATUSES
from hub.services.issue_token import TokenError

_HEAD = """\
# Problems

What the hub refuses, it answers with a problem document (RFC 9457, `application/problem+json`). `code` is stable and is never
given another meaning; `type` is `urn:accord:problem:` and the code. `findings` lists every rule that failed, with the article of
the agreement; `request_sha256` is the digest of the body that was received, and is left out where it was too large to be read.
The header `Accord-Signature` holds the hub's signature over the document: a detached compact JWS of type `hub-problem+jws`.

After a 429 or a 503 send the same again later: nothing was accepted. After any other refusal the same octets will be refused
again, unless the agreement, the registry or the time of day changes. A refused message may be mended and sent again under its id.

| code | status | meaning |
|---|---|---|
"""
_TAIL = """\

A fault of the hub's own has the code `{internal}`, status 500, and nothing but a reference number in `instance`: quote it to the
hub's operator, who finds the cause under it.

The token endpoint alone answers in another form, that of RFC 6749 section 5.2 with those of RFC 9449: {errors}.
"""


def problem_page() -> str:
    """The page, in Markdown."""
    rows = "".join(f"| `{code.value}` | {STATUSES[code]} | {MEANINGS[code]} |\n" for code in RefusalCode)
    errors = ", ".join(f"`{error.value}`" for error in TokenError)
    return _HEAD + rows + _TAIL.format(internal=INTERNAL, errors=errors)


if __name__ == "__main__":
    sys.stdout.write(problem_page())
