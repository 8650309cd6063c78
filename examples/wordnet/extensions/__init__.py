"""The extensions that the demonstration installs: ordinary Python, and so they run under CPython as well."""
