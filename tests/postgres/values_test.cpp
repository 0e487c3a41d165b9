// What goes in comes out: all types, NULL, nothing, zeros, and arrays of them.
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::postgres::tests {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::string_view_literals;

namespace {

enum class Colour : std::uint8_t { red = 3 };

struct Passed {
  template <class F>
  void bind_to(F bind) const {
    bind(std::optional<std::int64_t>{7});
  }
};

}  // namespace

class PostgresValues : public PostgresTest {};

TEST_F(PostgresValues, Scalars) {
  static constexpr Sql sql{
      "SELECT $1::bigint, $2::bigint, $3::boolean, $4::text, $5::bytea, $6::bigint, $7::bigint"};
  Query row = direct->query(sql, std::numeric_limits<std::int64_t>::min(), Colour::red, true, "grün",
                            Blob{"\0\xff\0"sv}, Passed{}, std::numeric_limits<std::int64_t>::max());
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(row.integer(1), 3);
  EXPECT_TRUE(row.boolean(2));
  EXPECT_EQ(row.bytes(3), "grün");
  EXPECT_EQ(row.bytes(4), "\0\xff\0"sv);
  EXPECT_EQ(row.integer(5), 7);
  EXPECT_EQ(row.integer(6), std::numeric_limits<std::int64_t>::max());
  EXPECT_FALSE(row.step());
  EXPECT_FALSE(row.step());
}

TEST_F(PostgresValues, NullIsNotNothing) {
  static constexpr Sql sql{
      "SELECT $1::bigint, $2::text, $3::bytea, $4::text, $5::bytea, $6::boolean, $7::text"};
  Query row =
      direct->query(sql, std::optional<int>{}, std::optional<std::string_view>{}, std::optional<Blob>{},
                    std::string_view{}, Blob{}, std::optional<bool>{}, nullptr);
  ASSERT_TRUE(row.step());
  for (const int column : {0, 1, 2, 5, 6}) EXPECT_TRUE(row.null(column)) << column;
  for (const int column : {3, 4}) EXPECT_FALSE(row.null(column)) << column;
  for (const int column : {1, 2, 3, 4}) EXPECT_EQ(row.bytes(column), "") << column;
  EXPECT_EQ(row.integer(0), 0);
  EXPECT_EQ(row.optional_integer(0), std::nullopt);
  EXPECT_FALSE(row.boolean(5));
  // With values now: it is the same statement.
  Query again =
      direct->query(sql, std::optional<int>{-2}, std::optional<std::string_view>{""}, std::optional<Blob>{},
                    std::string_view{"x"}, Blob{}, std::optional<bool>{false}, nullptr);
  ASSERT_TRUE(again.step());
  EXPECT_EQ(again.optional_integer(0), -2);
  EXPECT_FALSE(again.null(1));
  EXPECT_FALSE(again.null(5));
}

TEST_F(PostgresValues, SmallIntegersOfTheServer) {
  static constexpr Sql sql{
      "SELECT (-2)::smallint, (-3)::int, 4000000000::oid, '{-1,NULL}'::smallint[], 'n'::name"};
  Query row = direct->query(sql);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), -2);
  EXPECT_EQ(row.integer(1), -3);
  EXPECT_EQ(row.integer(2), 4000000000);
  EXPECT_THAT(row.integers(3), ElementsAre(-1, std::nullopt));
  EXPECT_EQ(row.bytes(4), "n");
}

TEST_F(PostgresValues, Arrays) {
  static constexpr Sql sql{
      "SELECT a, b, c, d, e FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::int[], $5::boolean[]) "
      "WITH ORDINALITY AS t(a, b, c, d, e, n) ORDER BY n"};
  Array<std::int64_t> numbers;
  numbers.add(std::int64_t{1} << 40);
  numbers.add(Colour::red);
  numbers.add_null();
  Array<std::string_view> texts;
  texts.add("a,\"b\\{}");
  texts.add("");
  texts.add(std::optional<std::string>{});
  Array<Blob> blobs;
  blobs.add(Blob{"\0"sv});
  blobs.add(std::optional<Blob>{});
  blobs.add(Blob{});
  const std::vector<std::int32_t> ints{-1, 0, 1};
  const std::vector<bool> flags{true, false, true};
  Query rows = direct->query(sql, numbers, texts, blobs, ints, flags);
  ASSERT_EQ(rows.rows(), 3);
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.integer(0), std::int64_t{1} << 40);
  EXPECT_EQ(rows.bytes(1), "a,\"b\\{}");
  EXPECT_EQ(rows.bytes(2), "\0"sv);
  EXPECT_EQ(rows.integer(3), -1);
  EXPECT_TRUE(rows.boolean(4));
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.integer(0), 3);
  EXPECT_FALSE(rows.null(1));
  EXPECT_EQ(rows.bytes(1), "");
  EXPECT_TRUE(rows.null(2));
  ASSERT_TRUE(rows.step());
  EXPECT_TRUE(rows.null(0));
  EXPECT_TRUE(rows.null(1));
  EXPECT_FALSE(rows.null(2));
  EXPECT_EQ(rows.bytes(2), "");
}

TEST_F(PostgresValues, ArraysComeBack) {
  static constexpr Sql sql{"SELECT $1::bigint[], $2::text[], $3::bytea[], $4::bigint[], NULL::bigint[]"};
  Query row = direct->query(sql, std::vector<std::optional<std::int64_t>>{1, {}, -3},
                            std::vector<std::optional<std::string>>{"x", {}, ""},
                            std::vector<Blob>{Blob{"\0a"sv}}, std::vector<std::int64_t>{});
  ASSERT_TRUE(row.step());
  EXPECT_THAT(row.integers(0), ElementsAre(1, std::nullopt, -3));
  EXPECT_THAT(row.texts(1), ElementsAre("x"sv, std::nullopt, ""sv));
  EXPECT_THAT(row.texts(2), ElementsAre("\0a"sv));
  EXPECT_THAT(row.integers(3), IsEmpty());
  EXPECT_FALSE(row.null(3));
  EXPECT_THAT(row.integers(4), IsEmpty());
  EXPECT_TRUE(row.null(4));
}

TEST_F(PostgresValues, AreLong) {
  static constexpr Sql sql{"SELECT $1::bytea, length($2::text)"};
  const std::string bytes(20'000'000, '\0');
  const std::string text(5'000'000, 'x');
  Query row = direct->query(sql, Blob{bytes}, text);
  ASSERT_TRUE(row.step());
  EXPECT_TRUE(row.bytes(0) == bytes);
  EXPECT_EQ(row.integer(1), 5'000'000);
}

TEST_F(PostgresValues, MistakesOfTheProgramAreToldApart) {
  static constexpr Sql sql{"SELECT $1::bigint, 'x'::text, 1.5::numeric"};
  Query row = direct->query(sql, 1);
  EXPECT_THROW(row.integer(0), std::logic_error);  // Not stepped to.
  ASSERT_TRUE(row.step());
  EXPECT_THROW(row.integer(1), std::logic_error);
  EXPECT_THROW(row.integer(2), std::logic_error);
  EXPECT_THROW(row.integers(1), std::logic_error);
  EXPECT_THROW(row.integer(3), std::logic_error);
  EXPECT_THROW(direct->query(sql, "1"), std::logic_error);
  EXPECT_EQ(direct->query(sql, 2).rows(), 1);
}

TEST_F(PostgresValues, TextThatIsNoneIsRefused) {
  static constexpr Sql sql{"SELECT $1::text"};
  const Failure failure = failure_of([&] { direct->query(sql, "\xff"); });
  EXPECT_EQ(failure.state(), "22021");
  EXPECT_FALSE(failure.retryable());
  EXPECT_EQ(failure_of([&] { direct->query(sql, "a\0b"sv); }).state(), "22021");
  EXPECT_EQ(direct->query(sql, "fine").rows(), 1);
}

}  // namespace tidemill::postgres::tests
