"""The checks can fail: each is shown a small tree that breaks its rule, and one beside it that doesn't."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import snippets
import tidy


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def tidy(self):
        return list(tidy.problems(self.root))

    def assert_each_fails(self, files, message):
        """Each file, alone, gives one problem that has the message."""
        for name, text in files:
            with self.subTest(name=name, text=text):
                self.write(name, text)
                found = self.tidy()
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(name + ":"), found)
                self.assertIn(message, found[0])
                (self.root / name).unlink()

    def test_a_clean_tree_has_no_problems(self):
        self.write("include/tidemill/task.hpp", "#pragma once\n#include <string>\n")
        self.write("include/tidemill/all.hpp", "#pragma once\n#include <tidemill/task.hpp>\n")
        self.write("src/core/b.hpp", "#pragma once\n#include <fmt/format.h>\n#include <boost/json.hpp>\n")
        self.write("src/core/b.cpp", 'const char* sql = "printf(1)";  // Not printf(1).\n')
        self.write("src/engine/a.cpp", '#include <vector>\n#include <tidemill/task.hpp>\n#include "core/b.hpp"\n')
        self.write("src/drivers/sqlite/d.hpp", "#pragma once\n#include <sqlite3.h>\n")
        self.write("src/stores/sqlite/s.hpp", '#pragma once\n#include "drivers/sqlite/d.hpp"\n#include "core/b.hpp"\n')
        self.write("src/stores/open.cpp", '#include "stores/sqlite/s.hpp"\n')
        self.write("src/cli/main.cpp", '#include "stores/sqlite/s.hpp"\nint main() { std::cout << "hello"; }\n')
        self.write("tests/unit/help.hpp", "#pragma once\n")
        self.write("tests/unit/b_test.cpp", '#include "help.hpp"\n#include "unit/help.hpp"\n#include "core/b.hpp"\n')
        self.write("examples/one/main.cpp", "#include <tidemill/all.hpp>\nusing namespace std;\n")
        self.write("build/dev/x.cpp", "x" * 200 + "\n")
        self.assertEqual(self.tidy(), [])

    def test_layers(self):
        for name in ("core/b", "engine/e", "drivers/sqlite/d", "stores/memory/m", "stores/sqlite/s", "cli/c"):
            self.write(f"src/{name}.hpp", "#pragma once\n")
        forbidden = [
            ("core", "engine/e"), ("core", "drivers/sqlite/d"), ("core", "stores/memory/m"), ("core", "cli/c"),
            ("engine", "stores/sqlite/s"), ("engine", "drivers/sqlite/d"), ("engine", "cli/c"),
            ("drivers/sqlite", "core/b"), ("stores/memory", "stores/sqlite/s"), ("stores/memory", "engine/e"),
            ("stores/sqlite", "stores/memory/m"), ("stores", "drivers/sqlite/d"), ("stores", "engine/e"),
            ("testing", "stores/memory/m"),
        ]
        self.assert_each_fails(
            [(f"src/{folder}/x.cpp", f'#include "{target}.hpp"\n') for folder, target in forbidden],
            "it may include ")

    def test_what_would_be_right_is_said(self):
        self.write("src/stores/memory/m.hpp", "#pragma once\n")
        self.write("src/engine/a.cpp", '\n#include "stores/memory/m.hpp"\n')
        self.assertEqual(self.tidy(), [
            'src/engine/a.cpp:2: src/engine must not include "stores/memory/m.hpp"; it may include core'])

    def test_folders_and_paths_of_src(self):
        self.write("src/core/b.hpp", "#pragma once\n")
        self.assert_each_fails([("src/util/d.cpp", "\n"), ("src/d.cpp", "\n")], "is no layer")
        self.assert_each_fails([("src/core/c.cpp", '#include "b.hpp"\n'),
                                ("src/engine/c.cpp", '#include "../core/b.hpp"\n'),
                                ("src/core/d.cpp", '#include "core/gone.hpp"\n')], "path from src/")

    def test_outside_headers(self):
        self.assert_each_fails([("src/drivers/sqlite/c.cpp", "#include <tidemill/task.hpp>\n")],
                               "knows nothing of tasks")
        self.assert_each_fails([("src/stores/memory/d.cpp", "#include <sqlite3.h>\n"),
                                ("src/engine/c.cpp", "#include <boost/json.hpp>\n"),
                                ("src/stores/memory/c.cpp", "# include <openssl/evp.h>\n"),
                                ("src/core/c.cpp", "#include <CLI/CLI.hpp>\n"),
                                ("src/engine/d.cpp", "#include <date/tz.h>\n")], "only src/")

    def test_public_headers(self):
        once = "#pragma once\n"
        self.assert_each_fails([("include/tidemill/a.hpp", once + "#include <fmt/format.h>\n"),
                                ("include/tidemill/a.hpp", once + "#include <sqlite3.h>\n"),
                                ("include/tidemill/a.hpp", once + "#include <unistd.h>\n"),
                                ("include/tidemill/a.hpp", once + '#include "core/rules.hpp"\n'),
                                ("include/tidemill/a.hpp", once + '#include "tidemill/a.hpp"\n')],
                               "standard library and")
        self.assert_each_fails([("include/tidemill/a.hpp", once + "#include <tidemill/gone.hpp>\n")], "there is no")

    def test_includes_of_tests_and_users(self):
        self.write("src/core/b.hpp", "#pragma once\n")
        self.assert_each_fails([("tests/unit/a_test.cpp", '#include "gone.hpp"\n')], "there is no")
        self.assert_each_fails([("examples/one/main.cpp", '#include "core/b.hpp"\n'),
                                ("docs/snippets/one.cpp", '#include "core/b.hpp"\n')], "not for users")

    def test_headers(self):
        self.assert_each_fails([("include/tidemill/c.hpp", "#include <string>\n"),
                                ("src/core/f.hpp", "\n"),
                                ("tests/unit/f.hpp", "// #pragma once\n")], "#pragma once")
        self.assert_each_fails([("src/core/e.hpp", "#pragma once\nusing namespace std;\n"),
                                ("tests/unit/e.hpp", "#pragma once\n  using namespace std::chrono_literals;\n")],
                               "using namespace")

    def test_calls(self):
        self.assert_each_fails([("tests/unit/a_test.cpp", "std::this_thread::sleep_for(1s);\n"),
                                ("tests/faults/a_main.cpp", "usleep(10);\n")], "waits for what it expects")
        self.assert_each_fails([("src/core/g.cpp", 'std::cout << "hello";\n'),
                                ("src/engine/g.cpp", 'printf("x");\n'),
                                ("src/stores/memory/g.cpp", 'std::fprintf(stderr, "x");\n')], "prints nothing")

    def test_text(self):
        unfinished = "TO" + "DO"
        self.assert_each_fails([("src/core/b.cpp", f"// {unfinished}\n"), ("tests/x.py", f"# {unfinished}: all\n"),
                                ("dev", f"# {unfinished}\n")], "unfinished")
        self.assert_each_fails([("src/core/c.cpp", "x" * 121 + "\n"), (".ci/run", "x" * 121 + "\n")], "121 columns")
        self.assert_each_fails([("src/core/d.cpp", "//\n" * 501), ("bench/run.sh", "#\n" * 501)], "501 lines")
        self.write("src/core/c.cpp", "x" * 120 + "\n" + "//\n" * 499)
        self.assertEqual(self.tidy(), [])

    def test_the_program_fails_too(self):
        tidy_py = pathlib.Path(tidy.__file__)
        run = [sys.executable, str(tidy_py), str(self.root)]
        self.assertEqual(subprocess.run(run, capture_output=True).returncode, 0)
        self.write("src/core/a.hpp", "\n")
        self.assertEqual(subprocess.run(run, capture_output=True).returncode, 1)

    def test_snippets(self):
        self.write("docs/snippets/a.cpp", "int a;\n// [part]\nint b;\n// [part]\n")
        good = "```cpp\nint b;\n```\n<!-- snippet: docs/snippets/a.cpp part -->\n"
        self.write("README.md", good)
        self.assertEqual(list(snippets.problems(self.root)), [])
        for bad in (good.replace("int b", "int c"), good.replace(" part ", " other "), good.replace("a.cpp", "b.cpp"),
                    "```cpp\nint x;\n```\n"):
            with self.subTest(bad):
                self.write("README.md", bad)
                self.assertEqual(len(list(snippets.problems(self.root))), 1)


if __name__ == "__main__":
    unittest.main()
