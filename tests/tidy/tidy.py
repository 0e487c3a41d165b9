#!/usr/bin/env python3
"""Holds the code against the layers of docs/architecture.md, section 2, and some rules of style.

Prints each problem as "file:line: what, and what would be right". tidy_test.py proves that every rule can fail.
"""
import pathlib
import re
import sys

# Which folders of src/ a folder may include, beside itself. <tidemill/...> is open to all but drivers.
LAYERS = {
    "core": set(),
    "drivers/http": set(),
    "drivers/mysql": {"drivers/sql"},
    "drivers/postgres": {"drivers/sql"},
    "drivers/process": set(),
    "drivers/redis": set(),
    "drivers/sql": set(),
    "drivers/sqlite": {"drivers/sql"},
    "stores/memory": {"core"},
    "stores/mysql": {"core", "stores/sql", "drivers/mysql"},
    "stores/redis": {"core", "drivers/redis"},
    "stores/postgres": {"core", "stores/sql", "drivers/postgres"},
    "stores/sql": {"core", "drivers/sql"},
    "stores/sqlite": {"core", "stores/sql", "drivers/sqlite"},
    "stores": {"core", "stores/memory", "stores/mysql", "stores/postgres", "stores/redis", "stores/sqlite"},
    "engine": {"core"},
    "gateways/persistent_queue": {"core", "engine", "drivers/mysql", "drivers/sql"},
    "testing": {"core", "engine"},
    "wire": {"core"},
    "stores/server": {"core", "wire", "drivers/http"},
    "deliver": {"core", "wire", "drivers/http", "drivers/process"},
    "yaml": {"core", "wire"},
    "config": {"core", "wire", "deliver", "yaml"},
    "server": {"core", "wire", "config", "deliver", "engine", "drivers/http"},
    "cli": {"core", "wire", "config", "deliver", "server", "drivers/sqlite", "drivers/http", "stores/memory",
            "stores/sqlite", "stores/server", "stores", "engine", "testing"},
}
# Which folders of src/ may include a third party's headers; fmt is open to all. Elsewhere they would be one more
# thing to know, and one more to replace.
THIRD_PARTIES = {
    "boost": {"core", "wire", "server", "drivers/http"},
    "CLI": {"cli"},
    "curl": {"drivers/http"},
    "date": {"core"},
    "libpq-fe.h": {"drivers/postgres"},
    "mysql.h": {"drivers/mysql"},
    "openssl": {"core", "deliver", "drivers/redis"},
    "yaml-cpp": {"yaml"},
    "sqlite3.h": {"drivers/sqlite", "stores/sqlite"},
    "zlib.h": {"core", "drivers/http"},
}
STD_HEADERS = set("""
    algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits
    clocale cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint
    cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem forward_list fstream
    functional future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory
    memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator
    semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf string string_view
    syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray
    variant vector version
""".split())
# The places that are ours to keep tidy; whatever else lies about is somebody's own.
FOLDERS = ("include", "src", "tests", "examples", "docs", "bench", "cmake")
CODE = {".cpp", ".hpp", ".py", ".sh", ".cmake"}
CODE_WITHOUT_SUFFIX = ("dev", ".ci/run", "CMakeLists.txt", "tests/CMakeLists.txt")

FILE_LINES_MAX = 500
# Files that may be longer, each with its reason beside it. There are none, and every other way is better.
LONGER_FILES = set()
COLUMNS_MAX = 120

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
USING_NAMESPACE = re.compile(r"^\s*using\s+namespace\b")
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep)\s*\(")
PRINT = re.compile(r"\b(std::(cout|cerr|clog)\b|(std::)?(printf|fprintf|puts|fputs|putchar)\s*\()|\bfmt::print\b")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def code_of(root):
    """All files of code, in a fixed order."""
    found = [root / name for name in CODE_WITHOUT_SUFFIX if (root / name).is_file()]
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.suffix in CODE and path.is_file()]
    return sorted(found)


def lines_of(path):
    return enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)


def includes_of(path):
    """(line, "<" or '"', what) of each."""
    for number, line in lines_of(path):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1], match[2]


def check_layers(path, root):
    folder = str(path.parent.relative_to(root / "src"))
    if folder not in LAYERS:
        yield 1, f"src/{folder} is no layer; add it to LAYERS in tests/tidy/tidy.py and to docs/architecture.md"
        return
    for number, bracket, target in includes_of(path):
        if bracket == "<":
            yield from check_outside(number, folder, target)
            continue
        if not (root / "src" / target).is_file():
            yield number, f'there is no src/{target}; write the whole path from src/, as in "core/url.hpp"'
            continue
        place = str(pathlib.PurePosixPath(target).parent)
        if place != folder and place not in LAYERS[folder]:
            allowed = ", ".join(sorted(LAYERS[folder])) or "nothing but itself"
            yield number, f'src/{folder} must not include "{target}"; it may include {allowed}'


def check_outside(number, folder, target):
    """Of <target> in a folder of src/."""
    party = target.split("/")[0]
    if party == "tidemill" and folder.startswith("drivers"):
        yield number, f"a driver knows nothing of tasks, so it must not include <{target}>; move that into a store"
    if folder not in THIRD_PARTIES.get(party, {folder}):
        allowed = ", ".join(sorted("src/" + place for place in THIRD_PARTIES[party]))
        yield number, f"src/{folder} must not include <{target}>; only {allowed} may, so call what is there"


def check_public_header(path, root):
    for number, bracket, target in includes_of(path):
        if bracket == "<" and target.startswith("tidemill/"):
            if not (root / "include" / target).is_file():
                yield number, f"there is no include/{target}"
        elif bracket != "<" or target not in STD_HEADERS:
            yield number, f"a public header includes the standard library and <tidemill/...> only, not {target}"


def check_test_includes(path, root):
    for number, bracket, target in includes_of(path):
        places = [path.parent / target, root / "tests" / target, root / "src" / target]
        if bracket == '"' and not any(place.is_file() for place in places):
            yield number, f'there is no "{target}" in this folder, tests/ or src/'


def check_user_includes(path, _root):
    """Examples and snippets see what users see."""
    for number, bracket, target in includes_of(path):
        if bracket == '"' and not (path.parent / target).is_file():
            yield number, f'"{target}" is not for users; an example includes <tidemill/...> and its own files'


def check_cpp(path, root):
    top = path.relative_to(root).parts[0]
    if path.suffix == ".hpp" and "#pragma once" not in path.read_text(encoding="utf-8").splitlines():
        yield 1, "a header needs a line #pragma once"
    for number, line in lines_of(path):
        plain = STRING.sub('""', line).split("//")[0]
        if path.suffix == ".hpp" and USING_NAMESPACE.match(plain):
            yield number, "no `using namespace` in a header: it reaches all who include it; name what is used"
        if top == "tests" and SLEEP.search(plain):
            yield number, "a test waits for what it expects, not for a time; use a condition or a fake clock"
        if top == "src" and path.relative_to(root).parts[1] != "cli" and PRINT.search(plain):
            yield number, "the library prints nothing; it has the log port, <tidemill/log.hpp>"


def check_text(path, root):
    count = 0
    for number, line in lines_of(path):
        count = number
        if len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns; {COLUMNS_MAX} are allowed: break the line"
        if UNFINISHED.search(line):
            yield number, "a note of unfinished work; do it now, or file an issue"
    if count > FILE_LINES_MAX and str(path.relative_to(root)) not in LONGER_FILES:
        yield count, f"{count} lines; {FILE_LINES_MAX} are allowed: give a part of it a file of its own"


def checks_of(path, root):
    top = path.relative_to(root).parts[0]
    yield check_text
    if path.suffix not in {".cpp", ".hpp"}:
        return
    yield check_cpp
    if top in {"src", "tests", "examples", "docs"}:
        yield {"src": check_layers, "tests": check_test_includes}.get(top, check_user_includes)
    if top == "include":
        yield check_public_header


def problems(root):
    """All of them, as "file:line: what, and what would be right"."""
    for path in code_of(root):
        for check in checks_of(path, root):
            for number, what in check(path, root):
                yield f"{path.relative_to(root)}:{number}: {what}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) if found else f"tidy: {len(code_of(root))} files, no problem")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
