"""Programs that use the rest of Python: what runs code at another time, in another scope, or hides it."""

# ruff: noqa: E501 (the programs are data, one line each)

from tests.property.hostile.corpus.case import body, refused, refused_body

STATEMENTS = [
    refused_body("unsupported", text)
    for text in (
        "global a\nreturn 1",
        "del a\nreturn 1",
        "del db\nreturn 1",
        "del k[0]\nreturn 1",
        "try:\n    db.get(1, 1)\nexcept:\n    pass\nreturn 1",
        "try:\n    return 1\nfinally:\n    return 2",
        "try:\n    pass\nexcept* ValueError:\n    pass\nreturn 1",
        "with db as x:\n    pass\nreturn 1",
        "match a:\n    case int(x):\n        pass\nreturn 1",
        "def g():\n    return db\nreturn 1",
        "class C(metaclass=eval):\n    pass\nreturn 1",
        "async def g():\n    pass\nreturn 1",
    )
] + [
    refused_body("unsupported", "while a:\n    a -= 1\nelse:\n    a = 2\nreturn 1", 6),
    refused_body("unsupported", "for i in range(3):\n    pass\nelse:\n    a = 2\nreturn 1", 6),
    refused_body("unsupported", "nonlocal a\nreturn 1"),
    refused_body("unsupported", "if a:\n    return 1\n    import os\nreturn 1", 5),  # never reached, refused all the same
    refused_body("unknown-name", "return 1\nreturn nothing", 4),
    refused_body("attribute", "return 1\nx = db.__class__", 4),
    refused_body("attribute", "while False:\n    x = db.__class__\nreturn 1", 4),
    refused_body("attribute", "x = 1 if True else db.__class__\nreturn 1"),
]

EXPRESSIONS = [
    refused_body("unsupported", f"x = {expression}\nreturn 1")
    for expression in (
        "lambda: db", "lambda db=db: db", "[i for i in range(3)]", "[db for db in k]", "{i: i for i in k}", "{i for i in k}",
        "(i for i in k)", "[(yield) for i in k]", "(y := 5)", "(db := 5)", "f'{a}'", "f'{db.__class__}'", "f'{a:{b}}'",
        "f'{(lambda: a)()}'", "{}", "{1: db}", "{1}", "{**a}", "await db", "...", "1j",
        "a @ b",
    )
] + [
    refused_body("unsupported", "yield from k\nreturn 1"),
    refused_body("yield", "x = yield\nreturn 1"),
    refused_body("yield", "yield db\nreturn 1"),
    refused_body("yield", "return (yield)"),
    refused_body("yield", "db.put(1, 1, (yield))\nreturn 1"),
    refused_body("yield", "if (yield):\n    pass\nreturn 1"),
    refused_body("call", "return len(*k)"),
    refused_body("call", "return db.get(*k)"),
    refused_body("call", "return db.get(**k)"),
    refused_body("call", "db.get(1, 1, **{'key': 2})\nreturn 1"),
    refused_body("call", "db.get(table=1, **k)\nreturn 1"),
    refused_body("call", "db.get(1, key=1, table=2)\nreturn 1"),
    refused_body("call", "return min(a)"),
    refused_body("assignment", "a.x = 1\nreturn 1"),
    refused_body("assignment", "db.get = k\nreturn 1"),
    refused_body("assignment", "k[0] = 1\nreturn 1"),
    refused_body("assignment", "k[0:2] = k\nreturn 1"),
    refused_body("assignment", "db.get(1, 1)[0] = 1\nreturn 1"),
    refused_body("assignment", "b'constant'[0] = 1\nreturn 1"),
    refused_body("syntax", "print 'x'\nreturn 1"),
    refused_body("syntax", "exec 'x'\nreturn 1"),
    refused_body("syntax", "(x for x in k) = 1\nreturn 1"),
]  # fmt: skip


def _definition(line: str, rest: str = "return 1") -> str:
    return f"@extension\n{line}\n    {rest}\n"


DEFINITIONS = [
    refused(
        "a decorator that is called", "decorator", 1, _definition("def f(db: Store) -> i64:").replace("@", "@eval('1')\n@", 1)
    ),
    refused("a decorator before", "decorator", 1, "@property\n" + body("return 1")),
    refused("a decorator behind", "decorator", 2, body("return 1").replace("\ndef", "\n@staticmethod\ndef")),
    refused("a decorator of an attribute", "decorator", 1, "@db.get\n" + body("return 1")),
    refused("a decorator that is a lambda", "decorator", 1, "@(lambda f: f)\n" + body("return 1")),
    refused("the decorator called", "decorator", 1, body("return 1").replace("@extension", "@extension(print)")),
    refused("the decorator twice", "decorator", 2, "@extension\n" + body("return 1")),
    refused("a default", "parameter", 2, _definition("def f(db: Store, a: i64 = 1) -> i64:")),
    refused("a default that runs", "parameter", 2, _definition("def f(db: Store, a: i64 = eval('1')) -> i64:")),
    refused("a default store", "parameter", 2, _definition("def f(db: Store = Store()) -> i64:")),
    refused("a default that is the function", "parameter", 2, _definition("def f(db: Store, a: i64 = f) -> i64:")),
    refused("star arguments", "parameter", 2, _definition("def f(db: Store, *a: i64) -> i64:")),
    refused("star star arguments", "parameter", 2, _definition("def f(db: Store, **a: i64) -> i64:")),
    refused("by keyword only", "parameter", 2, _definition("def f(db: Store, *, a: i64) -> i64:")),
    refused("by position only", "parameter", 2, _definition("def f(db: Store, /, a: i64) -> i64:")),
    refused("an annotation as text", "parameter", 2, _definition("def f(db: Store, a: 'i64') -> i64:")),
    refused("an annotation that runs", "parameter", 2, _definition("def f(db: Store, a: eval('1')) -> i64:")),
    refused("an annotation of the store that runs", "parameter", 2, _definition("def f(db: (x := Store)) -> i64:")),
    refused("no annotation", "parameter", 2, _definition("def f(db: Store, a) -> i64:")),
    refused("an unknown type", "parameter", 2, _definition("def f(db: Store, a: object) -> i64:")),
    refused("a result that runs", "result", 2, _definition("def f(db: Store) -> eval('1'):")),
    refused("a result that is the store", "result", 2, _definition("def f(db: Store) -> Store:", "return db")),
    refused("no result", "result", 2, _definition("def f(db: Store):")),
    refused("an async extension", "module-level", 2, _definition("async def f(db: Store) -> i64:")),
    refused("an extension that is a class", "module-level", 2, _definition("class f:", "pass")),
    refused("a declared type that runs", "type", 3, body("x: eval('1') = 1\nreturn 1")),
    refused("a declared store", "type", 3, body("x: Store = db\nreturn 1")),
]

MODULES = [
    refused(text.split("\n")[0], "module-level", 1, text + "\n" + body("return 1"))
    for text in (
        "print(1)", "eval('1')", "if True:\n    pass", "while True:\n    pass", "for i in range(3):\n    pass",
        "with open('x'):\n    pass", "try:\n    pass\nfinally:\n    pass", "class C:\n    pass", "async def g():\n    pass",
        "del extension", "assert False", "raise SystemExit", "(lambda: 1)()", "a = b = 1", "x: int", "global f", "x += 1",
        "match 1:\n    case 1:\n        pass",
    )
] + [
    refused("an extension in a class", "module-level", 1, "class C:\n    @extension\n    def f(db: Store) -> i64:\n        return 1\n"),
    refused("an extension in an if", "module-level", 1, "if True:\n    @extension\n    def f(db: Store) -> i64:\n        return 1\n"),
    refused("two extensions", "several-extensions", 5, body("return 1") + "@extension\ndef g(db: Store) -> i64:\n    return 1\n"),
    refused("a constant of an attribute", "constant", 1, "x.y = 1\n" + body("return 1")),
    refused("a constant of an element", "constant", 1, "x[0] = 1\n" + body("return 1")),
    refused("a constant by a walrus", "constant", 1, "X = (Y := 1)\n" + body("return 1")),
    refused("a constant by a lambda", "constant", 1, "X = lambda: 1\n" + body("return 1")),
]  # fmt: skip

CASES = STATEMENTS + EXPRESSIONS + DEFINITIONS + MODULES
