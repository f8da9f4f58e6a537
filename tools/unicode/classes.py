#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_table.rs: which code points are letters and numbers.

The classes are the general categories L* and N* of Unicode 16.0.0, the version
that PyPI tiktoken's regular expressions use. Needs `pip install
unicodedata2==16.0.0`. `--check` only compares the file with what would be
written.

Each class is one list of its ranges from code point 0 upward: how many code
points lie between the range before and this one, then how many it has. A number
is written in base 128, low digits first, the top bit set on all bytes but the
last. Two lists of such pairs compress better than one list of all changes of
class, and an index into them would be larger than the time it saves.
"""

import sys
from pathlib import Path

import unicodedata2

VERSION = "16.0.0"
OUT = Path(__file__).resolve().parents[2] / "src" / "tokenizer" / "unicode_table.rs"
OTHER, LETTER, NUMBER = 0, 1, 2
LIMIT = 0x110000


def classes():
    by_category = {"L": LETTER, "N": NUMBER}
    return [by_category.get(unicodedata2.category(chr(cp))[0], OTHER) for cp in range(LIMIT)]


def runs(of):
    start = 0
    for cp in range(1, LIMIT + 1):
        if cp == LIMIT or of[cp] != of[start]:
            yield start, cp - start, of[start]
            start = cp


def number(value):
    out = bytearray()
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    out.append(value)
    return out


def encode(of, cls):
    stream, end = bytearray(), 0
    for start, length, found in runs(of):
        if found == cls:
            stream += number(start - end) + number(length)
            end = start + length
    return stream


def table(name, stream):
    values = [str(b) for b in stream]
    return f"pub(super) static {name}: [u8; {len(stream)}] = [\n" + "".join(rows(values, 24)) + "];\n\n"


def fingerprint(of):
    """FNV-1a, 32 bits, over one byte per code point."""
    h = 0x811C9DC5
    for cls in of:
        h = ((h ^ cls) * 0x01000193) & 0xFFFFFFFF
    return h


def rows(values, per_row):
    for i in range(0, len(values), per_row):
        yield "    " + ", ".join(values[i : i + per_row]) + ",\n"


def render():
    assert unicodedata2.unidata_version == VERSION, unicodedata2.unidata_version
    of = classes()
    return (
        "//! Written by tools/unicode/classes.py, which explains the coding; do not edit.\n"
        f"//! Letters (L*) and numbers (N*) of Unicode {VERSION}.\n"
        "#![forbid(unsafe_code)]\n"
        "#![cfg_attr(rustfmt, rustfmt_skip)]\n\n"
        + table("LETTERS", encode(of, LETTER))
        + table("NUMBERS", encode(of, NUMBER))
        + "/// FNV-1a over the class of every code point, one byte each.\n"
        "#[cfg(test)]\n"
        f"pub(super) const FINGERPRINT: u32 = {fingerprint(of):#010x};\n"
    )


def main():
    text = render()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if OUT.read_text() == text else f"{OUT} is out of date")
    OUT.write_text(text)
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
