"""The client library: :class:`Client` for a tenant, :class:`splinter.client.admin.Admin` for the administrator."""

from splinter.client.client import Client, ExtensionInfo

__all__ = ["Client", "ExtensionInfo"]
