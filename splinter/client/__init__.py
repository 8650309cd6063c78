"""The client library: :class:`Client` for a tenant, :class:`splinter.client.admin.Admin` for the administrator."""

from splinter.client.client import Client
from splinter.client.extension_info import ExtensionInfo
from splinter.client.transaction import Transaction

__all__ = ["Client", "ExtensionInfo", "Transaction"]
