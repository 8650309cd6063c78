"""Extensions: what authors import. The compiler is :mod:`splinter.ext.compile`."""

from splinter.ext.author import Store, View, extension, i64, u64
from splinter.ext.faults import ExtensionFault
from splinter.ext.local import LocalStore

__all__ = ["ExtensionFault", "LocalStore", "Store", "View", "extension", "i64", "u64"]
