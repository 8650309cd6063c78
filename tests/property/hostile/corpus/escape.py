"""Programs that reach for what lies behind objects: attributes, built-in functions, modules, other functions' insides."""

from tests.property.hostile.corpus.case import body, refused, refused_body

ATTRIBUTES = [
    refused_body("attribute", f"x = {expression}\nreturn 1")
    for expression in (
        "db.__class__", "db.__dict__", "db.get", "db.get.__globals__", "db.get.__self__", "db.get.__func__.__code__",
        "db._loaded", "db.objects", "db.store", "db.frame", "db.context.store",
        "k.__class__", "k.__class__.__bases__", "k.__class__.__mro__[1].__subclasses__", "k._bytes", "k._bytes.obj", "k.u64",
        "a.__class__", "a.real", "(1).__class__", "b'x'.__class__", "(1.5).__class__", "None.__class__", "True.__doc__",
        "len.__self__", "range.__class__", "f.__globals__", "f.__code__.co_consts", "u64.__call__", "i64.high",
        "(lambda: 1).__globals__", "[].__class__", "().__class__.__base__", "{}.__class__", "''.__class__",
        "db.get(1, 1).__class__", "k[0:1].__class__", "Store.__init__", "View.__new__", "__builtins__.eval",
    )
]  # fmt: skip

METHODS = [
    refused_body(rule, f"x = {expression}\nreturn 1")
    for rule, expression in (
        ("unknown-method", "db.__init__()"),
        ("unknown-method", "db.__getattribute__('get')"),
        ("unknown-method", "db.__class__()"),
        ("unknown-method", "db.invoke(db)"),
        ("unknown-method", "db._place(1, k)"),
        ("unknown-method", "k.__getitem__(0)"),
        ("unknown-method", "k.__len__()"),
        ("unknown-method", "k.decode()"),
        ("unknown-method", "k.__reduce_ex__(2)"),
        ("unknown-method", "k._read(0, 1 << 40, False)"),
        ("unknown-method", "k[1:].tobytes()"),
        ("unknown-method", "a.to_bytes(8, 'little')"),
        ("unknown-method", "a.__add__(1)"),
        ("type", "'{0.__class__}'.format(db)"),
        ("call", "db.get(1, 2)()"),
        ("call", "(lambda: db)()"),
        ("call", "[db][0](1)"),
        ("call", "(db.get if a else db.put)(1, 1)"),
        ("attribute", "k.u64.__call__(0)"),
        ("attribute", "db.get.__call__(1, 1)"),
    )
]

BUILT_INS = [
    refused_body("unknown-function", f"x = {call}\nreturn 1")
    for call in (
        "eval('1')", "exec('1')", "compile(k, k, k)", "open(b'/etc/passwd')", "__import__('os')", "getattr(db, 'get')",
        "setattr(db, 'get', 1)", "delattr(db, 'get')", "hasattr(db, 'x')", "vars()", "dir()", "globals()", "locals()",
        "print(a)", "input()", "breakpoint()", "type(a)", "super()", "object()", "isinstance(a, b)", "id(k)", "hash(k)",
        "memoryview(k)", "bytearray(10)", "iter(k)", "next(k)", "help()", "exit()", "quit()", "__build_class__(a, b)",
        "staticmethod(a)", "db(1)", "f(db, a, b, k)", "k(1)", "a(1)", "chr(a)", "ord('a')", "pow(2, 10 ** 9)",
    )
]  # fmt: skip

IMPORTS = [
    refused(source.split("\n")[0], "import", 1, source + "\n" + body("return 1"))
    for source in (
        "import os",
        "import splinter.ext",
        "import ctypes as u64",
        "from os import system",
        "from os import *",
        "from . import secrets",
        "from .. import secrets",
        "from splinter.ext import *",
        "from splinter.ext.abi import F_TENANT",
        "from splinter.ext.native.code import CodeRegion",
        "from splinter.ext import u64 as i64",
        "from splinter.ext import extension as Store",
        "from builtins import eval",
        "from llvmlite import binding",
    )
] + [refused_body("unsupported", "import os\nreturn 1"), refused_body("unsupported", "from os import path\nreturn 1")]

CASES = ATTRIBUTES + METHODS + BUILT_INS + IMPORTS
