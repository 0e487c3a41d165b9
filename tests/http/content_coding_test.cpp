// Bodies that come packed: what is unpacked, and what must not be.
#include <gmock/gmock.h>

#include "drivers/http/content_coding.hpp"
#include "gzip.hpp"

namespace tidemill::http {

namespace {

using testing::gzip;

struct Decoded {
  int status = 200;  ///< 200: it could be had.
  std::string body = {};
  Headers headers = {};
};

Decoded decode(const std::string& coding, const std::string& body, std::size_t most = 1U << 20U) {
  Decoded result{.body = body, .headers = {{"content-encoding", coding}, {"x", "1"}}};
  if (const auto error = decode_body(result.headers, result.body, most)) result.status = error->status;
  return result;
}

TEST(ContentCoding, GzipIsUndoneAndItsHeaderGoes) {
  for (const char* coding : {"gzip", "GZIP", "x-gzip"}) {
    const Decoded got = decode(coding, gzip("some text"));
    EXPECT_EQ(got.status, 200) << coding;
    EXPECT_EQ(got.body, "some text");
    EXPECT_EQ(got.headers, (Headers{{"x", "1"}}));
  }
  EXPECT_EQ(decode("gzip", gzip("")).body, "");
  EXPECT_EQ(decode("gzip", gzip("one ") + gzip("two")).body, "one two");
  EXPECT_EQ(decode("identity", "plain").body, "plain");
  EXPECT_EQ(decode("", "plain").body, "plain");
}

TEST(ContentCoding, WhatIsLargeWhenUnpackedIsRefusedWithoutBeingMade) {
  const std::string bomb = gzip(std::string(64U << 20U, '0'));
  ASSERT_LT(bomb.size(), 100'000U);
  const Decoded got = decode("gzip", bomb, 1000);
  EXPECT_EQ(got.status, 413);
  EXPECT_EQ(got.body, bomb);
  const std::string text(100'000, 'x');
  EXPECT_EQ(decode("gzip", gzip(text), text.size()).body, text);
  EXPECT_EQ(decode("gzip", gzip(text), text.size() - 1).status, 413);
  EXPECT_EQ(decode("gzip", gzip(text) + gzip("y"), text.size()).status, 413);
}

TEST(ContentCoding, WhatIsNoGzipIsMalformed) {
  const std::string good = gzip("some text that is packed");
  EXPECT_EQ(decode("gzip", "some text").status, 400);
  EXPECT_EQ(decode("gzip", "").status, 400);
  EXPECT_EQ(decode("gzip", good + "more").status, 400);
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_EQ(decode("gzip", good.substr(0, length)).status, 400) << length;
  std::string changed = good;
  changed[changed.size() - 6] ^= 1;  // Of the checksum.
  EXPECT_EQ(decode("gzip", changed).status, 400);
}

TEST(ContentCoding, OtherCodingsAreSaidToBeUnknown) {
  for (const char* coding : {"br", "deflate", "gzip, gzip", "zstd"})
    EXPECT_EQ(decode(coding, "body").status, 415) << coding;
}

}  // namespace

}  // namespace tidemill::http
