"""What compiled extensions call beside the worker's helpers: comparing, copying, clearing, digests.

Each is compiled once per process, by the same LLVM and with all passes, and linked behind the code of the extensions that
call it: compiling it along with each of them would take longer, and large extensions are compiled with fewer passes.
"""

from __future__ import annotations

from splinter.ext.author import FNV_PRIME

# No loop here may become a call of memcmp or bcmp: "no-builtins" says that there are none.
_BYTES_EQUAL = """
define i1 @bytes_equal(i64 %a, i64 %an, i64 %b, i64 %bn) #0 {
entry:
  %same = icmp eq i64 %an, %bn
  br i1 %same, label %words, label %no
words:
  %i = phi i64 [0, %entry], [%i8, %word]
  %i8 = add i64 %i, 8
  %whole = icmp ule i64 %i8, %an
  br i1 %whole, label %word, label %bytes
word:
  %wa = add i64 %a, %i
  %wb = add i64 %b, %i
  %pa = inttoptr i64 %wa to ptr
  %pb = inttoptr i64 %wb to ptr
  %va = load i64, ptr %pa, align 1
  %vb = load i64, ptr %pb, align 1
  %eq = icmp eq i64 %va, %vb
  br i1 %eq, label %words, label %no
bytes:
  %j = phi i64 [%i, %words], [%j1, %byte]
  %more = icmp ult i64 %j, %an
  br i1 %more, label %byte, label %yes
byte:
  %ba = add i64 %a, %j
  %bb = add i64 %b, %j
  %qa = inttoptr i64 %ba to ptr
  %qb = inttoptr i64 %bb to ptr
  %ca = load i8, ptr %qa
  %cb = load i8, ptr %qb
  %beq = icmp eq i8 %ca, %cb
  %j1 = add i64 %j, 1
  br i1 %beq, label %bytes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""

# Towards higher addresses when the target lies below the source, else towards lower ones: the two may overlap.
_COPY = """
define void @copy(i64 %to, i64 %from, i64 %n) #0 {
entry:
  %up = icmp ule i64 %to, %from
  br i1 %up, label %words, label %down
words:
  %i = phi i64 [0, %entry], [%i8, %word]
  %i8 = add i64 %i, 8
  %whole = icmp ule i64 %i8, %n
  br i1 %whole, label %word, label %bytes
word:
  %wf = add i64 %from, %i
  %wt = add i64 %to, %i
  %pf = inttoptr i64 %wf to ptr
  %pt = inttoptr i64 %wt to ptr
  %w = load i64, ptr %pf, align 1
  store i64 %w, ptr %pt, align 1
  br label %words
bytes:
  %j = phi i64 [%i, %words], [%j1, %byte]
  %more = icmp ult i64 %j, %n
  br i1 %more, label %byte, label %done
byte:
  %bf = add i64 %from, %j
  %bt = add i64 %to, %j
  %qf = inttoptr i64 %bf to ptr
  %qt = inttoptr i64 %bt to ptr
  %b = load i8, ptr %qf
  store i8 %b, ptr %qt
  %j1 = add i64 %j, 1
  br label %bytes
down:
  %k = phi i64 [%n, %entry], [%k1, %downbyte]
  %left = icmp ne i64 %k, 0
  br i1 %left, label %downbyte, label %done
downbyte:
  %k1 = sub i64 %k, 1
  %df = add i64 %from, %k1
  %dt = add i64 %to, %k1
  %rf = inttoptr i64 %df to ptr
  %rt = inttoptr i64 %dt to ptr
  %d = load i8, ptr %rf
  store i8 %d, ptr %rt
  br label %down
done:
  ret void
}
"""

_CLEAR = """
define void @clear(i64 %at, i64 %n) #0 {
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i8, %word]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %word, label %done
word:
  %address = add i64 %at, %i
  %p = inttoptr i64 %address to ptr
  store i64 0, ptr %p
  %i8 = add i64 %i, 8
  br label %head
done:
  ret void
}
"""


def _crc32_table() -> list[int]:
    """Remainders of all bytes, for the reflected polynomial of IEEE 802.3."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return table


_BYTE_LOOP = """
define i64 @{name}(i64 %at, i64 %n, i64 %start) #0 {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %body]
  %state = phi i64 [%start, %entry], [%next, %body]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %address = add i64 %at, %i
  %p = inttoptr i64 %address to ptr
  %b8 = load i8, ptr %p
  %b = zext i8 %b8 to i64
  %mixed = xor i64 %state, %b
{step}
  %i1 = add i64 %i, 1
  br label %head
done:
  ret i64 %state
}}
"""
_CRC32 = (
    f"@crc32_table = private unnamed_addr constant [256 x i32] [{', '.join(f'i32 {value}' for value in _crc32_table())}]"
    + _BYTE_LOOP.format(
        name="crc32",
        step="""  %low = and i64 %mixed, 255
  %q = getelementptr i32, ptr @crc32_table, i64 %low
  %r32 = load i32, ptr %q
  %r = zext i32 %r32 to i64
  %rest = lshr i64 %state, 8
  %next = xor i64 %rest, %r""",
    )
)
_HASH64 = _BYTE_LOOP.format(
    name="hash64", step=f"  %next = mul i64 %mixed, {FNV_PRIME}"
)  # fmt: skip
_ATTRIBUTES = """
attributes #0 = { nounwind "no-builtins" }
"""

MODULES = {  # textual LLVM modules by the name of their function
    name: text + _ATTRIBUTES
    for name, text in (
        ("bytes_equal", _BYTES_EQUAL), ("copy", _COPY), ("clear", _CLEAR), ("crc32", _CRC32), ("hash64", _HASH64),
    )
}  # fmt: skip
DECLARATIONS = {  # %s is the name
    "@bytes_equal": "i1 %s(i64, i64, i64, i64)",
    "@copy": "void %s(i64, i64, i64)",
    "@clear": "void %s(i64, i64)",
    "@crc32": "i64 %s(i64, i64, i64)",
    "@hash64": "i64 %s(i64, i64, i64)",
}
