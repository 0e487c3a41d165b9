#!/usr/bin/env python3
"""Checks that every C++ block of the documentation is, letter for letter, code that the build compiles.

A block is followed by a comment that names its source, and a region of it if it isn't the whole file:

    <!-- snippet: docs/snippets/readme.cpp -->
    <!-- snippet: docs/snippets/getting_started.cpp enqueue -->

A region stands between two lines "// [enqueue]". A C++ block without such a comment is an error.
"""
import pathlib
import re
import sys

BLOCK = re.compile(r"^```cpp\n(.*?)^```\n(?:<!-- snippet: (\S+)(?: (\S+))? -->\n)?", re.MULTILINE | re.DOTALL)


def region_of(text, name):
    """The lines between the two marks, or None."""
    mark = re.compile(rf"^\s*// \[{re.escape(name)}\]\n", re.MULTILINE)
    parts = mark.split(text)
    return parts[1] if len(parts) == 3 else None


def problems(root):
    for page in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            where = f"{page.relative_to(root)}:{line}"
            code, source, region = block.groups()
            if source is None:
                yield f"{where}: a C++ block without a source; put <!-- snippet: FILE [REGION] --> below it"
                continue
            file = root / source
            if not file.is_file():
                yield f"{where}: there is no {source}"
                continue
            wanted = file.read_text(encoding="utf-8")
            if region is not None:
                wanted = region_of(wanted, region)
            if wanted is None:
                yield f"{where}: {source} has no region between two lines \"// [{region}]\""
            elif wanted.strip("\n") != code.strip("\n"):
                yield f"{where}: differs from {source}{' ' + region if region else ''}; copy that over this"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) if found else "every C++ block of the documentation is compiled code")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
