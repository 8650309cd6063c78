"""Fail: with an error code of the tenant's own, or with a broken assertion."""

from splinter.ext import Error, Store, extension, u64


@extension
def err(db: Store, code: u64) -> None:
    """End with the error ``code``, or, when that is 0, with an assertion."""
    assert code != 0, "a code was wanted"
    raise Error(code)
