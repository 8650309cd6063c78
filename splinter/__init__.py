"""Splinter: a multi-tenant, in-memory key-value store that tenants push code into."""

__version__ = "0.1.0"
