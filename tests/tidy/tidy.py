#!/usr/bin/env python3
"""Holds the code against the layers of docs/architecture.md, section 2, and some rules of style."""
import pathlib
import re
import sys

# Which folders of src/ a folder may include. Its own comes on top, and "tidemill/" is open to all but drivers.
LAYERS = {
    "core": set(),
    "drivers/sqlite": set(),
    "stores/memory": {"core"},
    "stores/sqlite": {"core", "drivers/sqlite"},
    "stores": {"core", "stores/memory", "stores/sqlite"},
    "engine": {"core"},
    "testing": {"core", "engine"},
    "cli": {"core"},
}
FILE_LINES_MAX = 500
COLUMNS_MAX = 120
INCLUDE = re.compile(r'^\s*#include ([<"])([^>"]+)[>"]')
STD_HEADER = re.compile(r"[a-z_]+")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def lines_of(path):
    return enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)


def folder_of(path, root):
    """The layer that a file of src/ belongs to."""
    return str(path.parent.relative_to(root / "src"))


def check_includes(path, root):
    folder = folder_of(path, root)
    if folder not in LAYERS:
        yield 1, f"src/{folder} is no layer; add it to LAYERS in tests/tidy/tidy.py and to docs/architecture.md"
        return
    for number, line in lines_of(path):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, target = match.groups()
        if bracket == "<":
            if target.startswith("tidemill/") and folder.startswith("drivers"):
                yield number, f"a driver knows nothing of tasks; it must not include <{target}>"
            continue
        place = str(pathlib.PurePosixPath(target).parent)
        if place != folder and place not in LAYERS[folder]:
            allowed = ", ".join(sorted(LAYERS[folder])) or "nothing but itself"
            yield number, f'src/{folder} must not include "{target}"; it may include {allowed}'


def check_public_header(path, _root):
    text = path.read_text(encoding="utf-8")
    if "#pragma once" not in text:
        yield 1, "a header needs #pragma once"
    for number, line in lines_of(path):
        match = INCLUDE.match(line)
        if match and not (match[1] == "<" and (match[2].startswith("tidemill/") or STD_HEADER.fullmatch(match[2]))):
            yield number, f"a public header includes the standard library and <tidemill/…> only, not {match[2]}"


def check_style(path, root):
    relative = path.relative_to(root)
    count = 0
    for number, line in lines_of(path):
        count = number
        if len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns; {COLUMNS_MAX} are allowed"
        if UNFINISHED.search(line):
            yield number, "an unfinished word; do it, or file an issue"
        if path.suffix == ".hpp" and re.match(r"\s*using namespace", line):
            yield number, "no `using namespace` in a header"
        if relative.parts[0] == "tests" and re.search(r"\bsleep_(for|until)\(", line):
            yield number, "a test waits for a condition, not for a time"
        if relative.parts[0] == "src" and relative.parts[1] != "cli" and re.search(r"std::(cout|cerr|printf)\b|\bfprintf\(", line):
            yield number, "the library prints nothing; it has the log port"
    if path.suffix == ".hpp" and "#pragma once" not in path.read_text(encoding="utf-8"):
        yield 1, "a header needs #pragma once"
    if count > FILE_LINES_MAX:
        yield count, f"{count} lines; {FILE_LINES_MAX} are allowed: give a part of it a file of its own"


def problems(root):
    """All of them, as "file:line: what, and what would be right"."""
    cpp = [p for p in sorted(root.rglob("*")) if p.suffix in {".cpp", ".hpp"} and "build" not in p.relative_to(root).parts]
    for path in cpp:
        top = path.relative_to(root).parts[0]
        checks = [check_style]
        if top == "src":
            checks.append(check_includes)
        if top == "include":
            checks.append(check_public_header)
        for check in checks:
            for number, what in check(path, root):
                yield f"{path.relative_to(root)}:{number}: {what}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) if found else "tidy")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
