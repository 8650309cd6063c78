"""Tells what was measured: tables, pictures and pages, made from documents alone."""
