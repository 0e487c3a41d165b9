#include "drivers/redis/parser.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "drivers/redis/failure.hpp"
#include "shown.hpp"

namespace tidemill::redis::tests {

namespace {

void feed(Parser& parser, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<char> room = parser.room();
    const std::size_t count = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), count);
    parser.filled(count);
    bytes.remove_prefix(count);
  }
}

/// All messages, each with a | behind it.
std::string read(std::string_view bytes, std::size_t cut = 0) {
  Parser parser;
  std::string out;
  for (const std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    feed(parser, part);
    while (const auto message = parser.next())
      out += (message->push ? "push " : "") + shown_reply(message->reply) + "|";
  }
  return out;
}

struct Case {
  std::string_view bytes, shown;
};

constexpr Case cases[] = {
    {"+OK\r\n", "+OK|"},
    {"+\r\n", "+|"},
    {"-ERR no such thing\r\n", "-ERR no such thing|"},
    {"!21\r\nSYNTAX invalid syntax\r\n", "-SYNTAX invalid syntax|"},
    {":0\r\n:-9223372036854775808\r\n:+7\r\n", "0|-9223372036854775808|7|"},
    {"$5\r\na\r\nbc\r\n$0\r\n\r\n", "\"a\r\nbc\"|\"\"|"},
    {"$-1\r\n*-1\r\n_\r\n", "nil|nil|nil|"},
    {"#t\r\n#f\r\n", "1|0|"},
    {",3.25\r\n,inf\r\n(3492890328409238509324850943850943825024385\r\n",
     "~3.25|~inf|~3492890328409238509324850943850943825024385|"},
    {"=15\r\ntxt:Some string\r\n", "\"Some string\"|"},
    {"*0\r\n*2\r\n:1\r\n*2\r\n$1\r\na\r\n-E x\r\n", "[]|[1,[\"a\",-E x]]|"},
    {"%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n~2\r\n_\r\n#t\r\n", "[+a,1,+b,[]]|[nil,1]|"},
    {">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:5\r\n", "push [+invalidate,[\"k\"]]|5|"},
    {"|1\r\n+ttl\r\n:3600\r\n:5\r\n", "5|"},
    {"*2\r\n|1\r\n+a\r\n*1\r\n:0\r\n:1\r\n|0\r\n:2\r\n", "[1,2]|"},
};

}  // namespace

TEST(RedisParser, ReadsAllTypesHoweverTheBytesAreCut) {
  for (const Case& one : cases) {
    for (std::size_t cut = 0; cut <= one.bytes.size(); ++cut)
      EXPECT_EQ(read(one.bytes, cut), one.shown) << one.bytes << "cut at " << cut;
  }
}

TEST(RedisParser, WaitsForTheRest) {
  for (const Case& one : cases) {
    const std::string whole = read(one.bytes);
    for (std::size_t size = 0; size < one.bytes.size(); ++size) {
      const std::string part = read(one.bytes.substr(0, size));
      EXPECT_LT(part.size(), whole.size());
      EXPECT_TRUE(whole.starts_with(part)) << one.bytes.substr(0, size);
    }
  }
}

TEST(RedisParser, RefusesWhatIsMalformed) {
  for (const std::string_view bytes : {"hello\r\n", "\r\n",          "+OK\rx",
                                       ":\r\n",     ":1x\r\n",       ":99999999999999999999\r\n",
                                       "$x\r\n",    "$-2\r\n",       "$536870913\r\n",
                                       "$1\r\nabc", "*-2\r\n",       "*99999999999\r\n",
                                       "*?\r\n",    "#x\r\n",        "_x\r\n",
                                       ",\r\n",     "=3\r\nabc\r\n", "=-1\r\n",
                                       "%-1\r\n",   ">1\r\n>1\r\n",  ":++1\r\n",
                                       ":+-1\r\n"})
    EXPECT_THROW(read(bytes), Failure) << bytes;
}

TEST(RedisParser, BoundsDepthAndLines) {
  const auto nested = [](std::size_t depth) {
    std::string bytes;
    for (std::size_t i = 0; i < depth; ++i) bytes += "*1\r\n";
    return bytes + ":1\r\n";
  };
  EXPECT_NO_THROW(read(nested(Parser::depth_max)));
  EXPECT_THROW(read(nested(Parser::depth_max + 1)), Failure);
  EXPECT_NO_THROW(read("+" + std::string(Parser::line_max - 1, 'x') + "\r\n"));
  EXPECT_THROW(read(std::string(Parser::line_max + 2, '+')), Failure);
}

TEST(RedisParser, ACountAloneTakesNoMemory) {
  Parser parser;
  feed(parser, "*2147483648\r\n*2147483648\r\n");
  EXPECT_FALSE(parser.next());
  feed(parser, "$536870912\r\nabc");
  EXPECT_FALSE(parser.next());
  EXPECT_LT(parser.room().size(), std::size_t{1} << 20U);
}

TEST(RedisParser, ReadsLongRepliesInManyParts) {
  std::string bytes = "*1001\r\n", expected = "[";
  for (int i = 0; i < 1000; ++i) {
    bytes += "$100\r\n" + std::string(100, static_cast<char>('a' + i % 26)) + "\r\n";
    expected += "\"" + std::string(100, static_cast<char>('a' + i % 26)) + "\",";
  }
  const std::string large(3U << 20U, 'z');
  bytes += fmt::format("${}\r\n{}\r\n:7\r\n", large.size(), large);
  expected += "\"" + large + "\"]|7|";
  Parser parser;
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 997) {
    feed(parser, std::string_view{bytes}.substr(at, 997));
    while (const auto message = parser.next()) out += shown_reply(message->reply) + "|";
  }
  EXPECT_TRUE(out == expected);
  EXPECT_TRUE(parser.empty());
}

TEST(RedisReply, KnowsTheCodeOfARefusal) {
  const Reply reply{.kind = Reply::Kind::error, .text = "MOVED 1 host:2"};
  EXPECT_TRUE(reply.refused("MOVED"));
  EXPECT_FALSE(reply.refused("MOVE"));
  EXPECT_FALSE((Reply{.kind = Reply::Kind::bytes, .text = "MOVED"}.refused("MOVED")));
  EXPECT_FALSE(reply.ok());
}

}  // namespace tidemill::redis::tests
