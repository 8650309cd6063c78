"""Programs that give known names another meaning, or make one name look like another."""

from tests.property.hostile.corpus.case import body, gives, refused, refused_body


def _function(parameters: str, text: str = "return 1", before: str = "") -> str:
    return f"{before}@extension\ndef f({parameters}) -> i64:\n    {text}\n"


SHADOWED = [
    refused_body("store", "db = 5\nreturn 1"),
    refused_body("store", "db = db\nreturn 1"),
    refused_body("store", "other = db\nreturn 1"),
    refused_body("store", "for db in range(3):\n    pass\nreturn 1"),
    refused_body("store", "db += 1\nreturn 1"),
    refused_body("store", "return db"),
    refused_body("store", "x = db if a else db\nreturn 1"),
    refused_body("store", "x = 1 if db else 0\nreturn x"),
    refused_body("store", "x = 1 if db is None else 0\nreturn x"),
    refused_body("store", "db.put(1, db, db)\nreturn 1"),
    refused_body("reserved-name", "u64 = 1\nreturn 1"),
    refused_body("reserved-name", "len = a\nreturn len"),
    refused_body("reserved-name", "for range in range(3):\n    pass\nreturn 1"),
    refused_body("reserved-name", "min, max = a, a\nreturn 1"),
    refused_body("reserved-name", "extension = 1\nreturn 1"),
    refused_body("reserved-name", "Store = 1\nreturn 1"),
    refused_body("reserved-name", "bytes = k\nreturn 1"),
    refused_body("syntax", "None = 1\nreturn 1"),
    refused_body("syntax", "True = 0\nreturn 1"),
    refused_body("syntax", "f() = 1\nreturn 1"),
    refused("a parameter called u64", "reserved-name", 2, _function("db: Store, u64: i64")),
    refused("a store called len", "reserved-name", 2, _function("len: Store")),
    refused("a parameter called len", "reserved-name", 2, _function("db: Store, len: i64")),
    refused("two parameters of one name", "parameter", 2, _function("db: Store, a: i64, a: i64")),
    refused("two stores of one name", "parameter", 2, _function("db: Store, db: i64")),
    refused("a second store", "parameter", 2, _function("db: Store, other: Store")),
    refused("no store", "parameter", 2, _function("a: i64")),
    refused("a module constant u64", "reserved-name", 1, _function("db: Store", before="u64 = 1\n")),
    refused("a module constant range", "reserved-name", 1, _function("db: Store", before="range = (1, 2)\n")),
    refused("a constant given twice", "constant", 2, _function("db: Store", before="X = 1\nX = 2\n")),
    refused("a constant of itself", "constant", 1, _function("db: Store", before="X = X\n")),
    refused("a constant of a later one", "constant", 1, _function("db: Store", before="X = Y\nY = 1\n")),
    refused("a constant of the store", "constant", 1, _function("db: Store", before="X = db\n")),
    refused("a constant by a call", "constant", 1, _function("db: Store", before="X = open('/etc/passwd')\n")),
    refused_body("reserved-name", "__debug__ = 1\nreturn 1"),
    refused_body("reserved-name", "for __debug__ in range(3):\n    pass\nreturn 1"),
    refused_body("reserved-name", "__builtins__ = 1\nreturn 1"),
    refused_body("reserved-name", "__ｄebug__ = 1\nreturn 1"),
    refused_body("unknown-name", "return __debug__"),
    refused("a parameter called __debug__", "reserved-name", 2, _function("db: Store, __debug__: i64")),
    refused("a store called __debug__", "reserved-name", 2, _function("__debug__: Store")),
    refused("a module constant __debug__", "reserved-name", 1, _function("db: Store", before="__debug__ = 1\n")),
    gives(3, "f = 3\nreturn f"),
    gives(7, "__class__ = 7\n__globals__ = __class__\nreturn __globals__"),
    gives(1, "print = 1\neval = print\nreturn eval"),
    gives(4, "self = 4\ncls = self\nreturn cls"),
]

LOOK_ALIKES = [
    # Python reads compatibility characters as the letters they stand for: these are the plain names.
    refused_body("attribute", "x = ｄｂ.__class__\nreturn 1"),
    refused_body("reserved-name", "𝐥𝐞𝐧 = 1\nreturn 1"),
    refused_body("reserved-name", "ｕ６４ = 1\nreturn 1"),
    refused_body("attribute", "x = k.__ｃlass__\nreturn 1"),
    refused_body("unknown-function", "x = ｅｖａｌ('1')\nreturn 1"),
    refused_body("reserved-name", "Ｎone = 1\nreturn 1"),
    refused_body("reserved-name", "Ｔrue = 0\nreturn 1"),
    refused_body("reserved-name", "paſs = 1\nreturn 1"),
    gives(3, "return ｌｅｎ(k)"),
    gives(5, "ﬁ = 5\nreturn fi"),
    # These are other names.
    refused_body("unknown-name", "return а"),  # CYRILLIC SMALL LETTER A
    refused_body("unknown-function", "return lеn(k)"),  # CYRILLIC SMALL LETTER IE
    refused_body("unknown-name", "x = ԁb.get(1, 1)\nreturn 1"),  # CYRILLIC SMALL LETTER KOMI DE
    refused_body("unknown-name", "α = 1\nreturn ɑ", 4),  # GREEK SMALL LETTER ALPHA, LATIN SMALL LETTER ALPHA
    # These are no names at all.
    refused_body("syntax", "x\u200d = 1\nreturn 1"),  # ZERO WIDTH JOINER
    refused_body("syntax", "x\u202e = 1\nreturn 1"),  # RIGHT-TO-LEFT OVERRIDE
    refused_body("syntax", "x\u200f = 1\nreturn 1"),  # RIGHT-TO-LEFT MARK
    refused_body("syntax", "x\u00a0= 1\nreturn 1"),  # NO-BREAK SPACE
    refused_body("syntax", "x = 1\u037e y = 2\nreturn 1"),  # GREEK QUESTION MARK
    refused_body("syntax", "return a²"),
    refused_body("syntax", "return １ + １"),
    refused_body("syntax", "return a － 1"),
    refused_body("syntax", "return “a”"),
    # What a reader sees is not what runs, but what runs is what was checked.
    gives(1, "# \u202e return 2 \u2066\nreturn 1", name="a comment from right to left"),
    gives(2, "'''\u202e\nreturn 1 # '''\nreturn 2", name="a text from right to left"),
]

NAMES_OF_EXTENSIONS = [
    refused("a name of 65 bytes", "name", 2, body("return 1").replace("def f(", f"def {'f' * 65}(")),
    refused("a name of 33 letters and 66 bytes", "name", 2, body("return 1").replace("def f(", f"def {'ф' * 33}(")),
]

CASES = SHADOWED + LOOK_ALIKES + NAMES_OF_EXTENSIONS
