"""The checks can fail: each is shown a small tree that breaks its rule."""
import pathlib
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

    def test_a_clean_tree_has_no_problems(self):
        self.write("src/engine/a.cpp", '#include <vector>\n#include <tidemill/task.hpp>\n#include "core/b.hpp"\n')
        self.write("include/tidemill/task.hpp", "#pragma once\n#include <string>\n")
        self.assertEqual(self.tidy(), [])

    def test_layers(self):
        self.write("src/engine/a.cpp", '#include "stores/sqlite/sqlite_store.hpp"\n')
        self.write("src/stores/memory/b.cpp", '#include "stores/sqlite/sqlite_store.hpp"\n')
        self.write("src/drivers/sqlite/c.cpp", "#include <tidemill/task.hpp>\n")
        self.write("src/util/d.cpp", "\n")
        self.assertEqual(len(self.tidy()), 4)
        self.assertIn('src/engine/a.cpp:1: src/engine must not include "stores/sqlite/sqlite_store.hpp"; it may include core',
                      self.tidy())

    def test_public_headers(self):
        self.write("include/tidemill/a.hpp", "#pragma once\n#include <fmt/format.h>\n")
        self.write("include/tidemill/b.hpp", '#pragma once\n#include "core/rules.hpp"\n')
        self.write("include/tidemill/c.hpp", "#include <string>\n")
        self.assertGreaterEqual(len(self.tidy()), 3)

    def test_style(self):
        for name, text in {
            "tests/unit/a_test.cpp": "std::this_thread::sleep_for(1s);\n",
            "src/core/b.cpp": "// TODO\n",
            "src/core/c.cpp": "x" * 121 + "\n",
            "src/core/d.cpp": "//\n" * 501,
            "src/core/e.hpp": "#pragma once\nusing namespace std;\n",
            "src/core/f.hpp": "\n",
            "src/core/g.cpp": 'std::cout << "hello";\n',
        }.items():
            with self.subTest(name):
                self.write(name, text)
                self.assertEqual(len(self.tidy()), 1)
                (self.root / name).unlink()

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
