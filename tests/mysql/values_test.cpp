// What goes in comes out: all types, NULL, nothing, and bytes that mean something in statements.
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::mysql::tests {

using namespace std::string_view_literals;

namespace {

enum class Colour : std::uint8_t { red = 3 };

struct Passed {
  template <class F>
  void bind_to(F bind) const {
    bind(std::optional<std::int64_t>{7});
  }
};

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

}  // namespace

class MysqlValues : public MysqlTest {};

TEST_F(MysqlValues, Scalars) {
  static constexpr Sql sql{"SELECT $1, $2, $3, $4, $5, $6, $7, $8, 1-$1"};
  Query row = direct->query(sql, -2, Colour::red, true, "grün", Blob{"\0\xff\0"sv}, Passed{},
                            std::string{"s"}, false);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), -2);
  EXPECT_EQ(row.integer(1), 3);
  EXPECT_TRUE(row.boolean(2));
  EXPECT_EQ(row.bytes(3), "grün");
  EXPECT_EQ(row.bytes(4), "\0\xff\0"sv);
  EXPECT_EQ(row.integer(5), 7);
  EXPECT_EQ(row.bytes(6), "s");
  EXPECT_FALSE(row.boolean(7));
  EXPECT_EQ(row.integer(8), 3);
  EXPECT_FALSE(row.step());
  EXPECT_FALSE(row.step());
}

TEST_F(MysqlValues, TheLongestIntegers) {
  static constexpr Sql select{"SELECT $1, $2"};
  Query row = direct->query(select, lowest, highest);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), lowest);
  EXPECT_EQ(row.integer(1), highest);
  direct->run(insert_key, lowest);
  direct->run(insert_key, highest);
  EXPECT_EQ(keys(), "-9223372036854775808,9223372036854775807");
}

TEST_F(MysqlValues, NullIsNotNothing) {
  static constexpr Sql sql{"SELECT $1, $2, $3, $4, $5, $6"};
  Query row = direct->query(sql, std::optional<int>{}, std::optional<std::string_view>{}, nullptr,
                            std::optional<Blob>{}, std::string_view{}, Blob{});
  ASSERT_TRUE(row.step());
  for (const int column : {0, 1, 2, 3}) EXPECT_TRUE(row.null(column)) << column;
  for (const int column : {4, 5}) EXPECT_FALSE(row.null(column)) << column;
  for (const int column : {1, 3, 4, 5}) EXPECT_EQ(row.bytes(column), "") << column;
  EXPECT_EQ(row.integer(0), 0);
  EXPECT_EQ(row.optional_integer(0), std::nullopt);
  Query again = direct->query(sql, std::optional<int>{-2}, std::optional<std::string_view>{""}, nullptr,
                              std::optional<Blob>{Blob{}}, "x", Blob{});
  ASSERT_TRUE(again.step());
  EXPECT_EQ(again.optional_integer(0), -2);
  EXPECT_FALSE(again.null(1));
  EXPECT_FALSE(again.null(3));
}

/// Each byte, and each two where one of them ends a literal or begins something; in every mode of the server.
TEST_F(MysqlValues, AnyBytesInAnyMode) {
  std::vector<std::string> all;
  std::string every;
  for (int c = 0; c < 256; ++c) {
    every += static_cast<char>(c);
    all.emplace_back(1, static_cast<char>(c));
    for (const char special : {'\'', '\\', '"', '\0', '`', ';'}) {
      all.push_back({static_cast<char>(c), special});
      all.push_back({special, static_cast<char>(c)});
    }
  }
  all.push_back(every);
  all.insert(all.end(), {"'';DROP TABLE x;--", "/* '", "\\'", "'\\", std::string(3, '\''), "$1 main.pair"});
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES $1"};
  for (const char* const mode : {"", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ANSI,NO_BACKSLASH_ESCAPES"}) {
    direct->execute("SET SESSION sql_mode = '" + std::string{mode} + "'; DELETE FROM main.pair");
    Rows rows;
    for (std::size_t i = 0; i < all.size(); ++i) rows.add(i, Blob{all[i]});
    EXPECT_EQ(direct->run(insert, rows), static_cast<std::int64_t>(all.size()));
    Query found = direct->query(read_all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_TRUE(found.step());
      ASSERT_EQ(found.bytes(1), all[i]) << mode << " " << i;
    }
    static constexpr Sql text{"SELECT $1, $2"};
    Query row = direct->query(text, "a'b\\c\"d", "\\");
    ASSERT_TRUE(row.step());
    EXPECT_EQ(row.bytes(0), "a'b\\c\"d");
    EXPECT_EQ(row.bytes(1), "\\");
  }
}

TEST_F(MysqlValues, AnyBytesByChance) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random{seed};
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES $1"};
  std::vector<std::string> all(500);
  Rows rows;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].resize(random() % 40);
    for (char& c : all[i]) c = static_cast<char>(random() % 3 == 0 ? "'\\\"\0;\xf0"[random() % 6] : random());
    rows.add(i, Blob{all[i]});
  }
  direct->run(insert, rows);
  Query found = direct->query(read_all);
  for (const std::string& bytes : all) {
    ASSERT_TRUE(found.step());
    ASSERT_EQ(found.bytes(1), bytes) << "seed " << seed;
  }
}

TEST_F(MysqlValues, AreLong) {
  static constexpr Sql sql{"SELECT $1, LENGTH($2)"};
  const std::string bytes(9'000'000, '\0');
  const std::string text(500'000, '\\');
  Query row = direct->query(sql, Blob{bytes}, text);
  ASSERT_TRUE(row.step());
  EXPECT_TRUE(row.bytes(0) == bytes);
  EXPECT_EQ(row.integer(1), 500'000);
}

TEST_F(MysqlValues, TextThatIsNoneIsRefused) {
  direct->execute("CREATE TABLE main.note (text VARCHAR(20) CHARACTER SET utf8mb4)");
  static constexpr Sql insert{"INSERT INTO main.note VALUES ($1)"};
  const Failure failure = failure_of([&] { direct->run(insert, "\xff"); });
  EXPECT_EQ(failure.number(), 1366U);
  EXPECT_FALSE(failure.retryable());
  EXPECT_EQ(failure_of([&] { direct->run(insert, "more than twenty letters"); }).number(), 1406U);
  direct->run(insert, "\U0001F600\0"sv);
  static constexpr Sql read{"SELECT text FROM main.note"};
  Query row = direct->query(read);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.bytes(0), "\U0001F600\0"sv);
}

TEST_F(MysqlValues, IntegersOfTheServer) {
  static constexpr Sql sql{
      "SELECT COUNT(*), SUM(n), MAX(n), CAST(-3 AS SIGNED), TRUE, NULL, SUM(n) / 3 FROM (SELECT 4 AS n UNION "
      "SELECT 6) AS some"};
  Query row = direct->query(sql);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 2);
  EXPECT_EQ(row.integer(1), 10);
  EXPECT_EQ(row.integer(2), 6);
  EXPECT_EQ(row.integer(3), -3);
  EXPECT_TRUE(row.boolean(4));
  EXPECT_EQ(row.optional_integer(5), std::nullopt);
  EXPECT_THROW(row.integer(6), std::logic_error);
}

TEST_F(MysqlValues, ListsOfValues) {
  for (const int key : {1, 2, 3}) direct->run(insert_key, key);
  static constexpr Sql among{"SELECT COUNT(*) FROM main.pair WHERE `key` IN $1"};
  const auto count = [&](const auto& list) {
    Query row = direct->query(among, list);
    row.step();
    return row.integer(0);
  };
  EXPECT_EQ(count(std::vector<std::int64_t>{1, 3, 5}), 2);
  EXPECT_EQ(count(std::vector<std::string>{"2", "'"}), 1);
  EXPECT_EQ(count(std::vector<int>{}), 0);
}

TEST_F(MysqlValues, RowsAreInsertedTogether) {
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES $1"};
  Rows rows;
  EXPECT_TRUE(rows.empty());
  EXPECT_THROW(direct->run(insert, rows), std::logic_error);
  for (int i = 0; i < 1000; ++i) rows.add(i, i % 2 == 0 ? std::optional<Blob>{Blob{"even"}} : std::nullopt);
  EXPECT_EQ(rows.size(), 1000U);
  EXPECT_GT(rows.bytes(), 9000U);
  EXPECT_EQ(direct->run(insert, rows), 1000);
  static constexpr Sql count{"SELECT COUNT(*), COUNT(value), SUM(`key`) FROM main.pair"};
  Query row = direct->query(count);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 1000);
  EXPECT_EQ(row.integer(1), 500);
  EXPECT_EQ(row.integer(2), 499'500);
  rows.clear();
  EXPECT_TRUE(rows.empty());
  rows.add(5000, nullptr);
  EXPECT_EQ(direct->run(insert, rows), 1);
}

TEST_F(MysqlValues, ATableUpdatesEachRowInItsWay) {
  for (const int key : {1, 2, 3}) direct->run(insert_key, key);
  static constexpr Sql update{
      "UPDATE main.pair AS old JOIN $1 AS new USING (`key`) SET old.value = new.value"};
  static constexpr Sql remove{"DELETE old FROM main.pair AS old JOIN $1 AS new USING (`key`, value)"};
  Table table{"key", "value"};
  EXPECT_EQ(direct->run(update, table), 0);
  table.add(1, Blob{"one\xff"});
  table.add(3, std::optional<Blob>{});
  table.add(7, Blob{"seven"});
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(direct->run(update, table), 2);
  Query rows = direct->query(read_all);
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.bytes(1), "one\xff");
  EXPECT_EQ(direct->run(remove, table), 1);
  EXPECT_EQ(keys(), "2,3");
}

TEST_F(MysqlValues, ATableHasWhatItWasGiven) {
  static constexpr Sql read{"SELECT number, text, bytes FROM $1 AS given ORDER BY number"};
  Table table{"number", "text", "bytes"};
  table.add(nullptr, nullptr, nullptr);
  table.add(lowest, "grün'", Blob{"\xff\\"sv});
  table.add(highest, "", Blob{"\0"sv});
  Query rows = direct->query(read, table);
  ASSERT_TRUE(rows.step());
  for (const int column : {0, 1, 2}) EXPECT_TRUE(rows.null(column));
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.integer(0), lowest);
  EXPECT_EQ(rows.bytes(1), "grün'");
  EXPECT_EQ(rows.bytes(2), "\xff\\"sv);
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.integer(0), highest);
  EXPECT_EQ(rows.bytes(1), "");
  EXPECT_EQ(rows.bytes(2), "\0"sv);
}

TEST(MysqlParameters, AreWrittenForEitherServer) {
  Table table{"id", "a`b"};
  table.add(1, "x");
  table.add(2, nullptr);
  Rows rows;
  rows.add(1, 2);
  rows.add(3, 4);
  Parameters parameters;
  parameters.add(table);
  parameters.add(rows);
  const auto text = [&](std::size_t place, bool mariadb) {
    std::string out = "-";
    parameters.append_to(out, parameters.places()[place], mariadb);
    return out;
  };
  EXPECT_EQ(text(0, true),
            "-(SELECT NULL AS `id`,NULL AS `a``b` FROM DUAL WHERE FALSE UNION ALL VALUES "
            "(1,_utf8mb4'x'),(2,NULL))");
  EXPECT_EQ(text(0, false),
            "-(SELECT NULL AS `id`,NULL AS `a``b` FROM DUAL WHERE FALSE UNION ALL VALUES "
            "ROW(1,_utf8mb4'x'),ROW(2,NULL))");
  for (const bool mariadb : {true, false}) EXPECT_EQ(text(1, mariadb), "-(1,2),(3,4)");
}

TEST_F(MysqlValues, MistakesOfTheProgramAreToldApart) {
  static constexpr Sql sql{"SELECT $1, 'x', 18446744073709551615"};
  Query row = direct->query(sql, 1);
  EXPECT_THROW(row.integer(0), std::logic_error);  // Not stepped to.
  ASSERT_TRUE(row.step());
  EXPECT_THROW(row.integer(1), std::logic_error);
  EXPECT_THROW(row.integer(2), std::logic_error);
  EXPECT_THROW(row.integer(3), std::logic_error);
  EXPECT_THROW(row.bytes(-1), std::logic_error);
  EXPECT_THROW(direct->query(sql), std::logic_error);
  EXPECT_THROW(direct->query(sql, 1, 2), std::logic_error);
  EXPECT_EQ(direct->query(sql, 2).rows(), 1);
}

}  // namespace tidemill::mysql::tests
