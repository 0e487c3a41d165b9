// The typed codec: what goes in comes out, old and new programs understand each other, and a mistake is named
// by its place.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

namespace app {

struct Address {
  std::string street = {};
  std::uint8_t number = 0;
  bool operator==(const Address&) const = default;
};
TIDEMILL_FIELDS(Address, street, number)

struct Mail {
  static constexpr std::string_view kind = "mail:send";
  std::string to = {};
  std::optional<Address> from = {};
  std::vector<Address> copies = {};
  std::map<std::string, double> weights = {};
  std::vector<bool> flags = {};
  std::int64_t least = 0;
  std::uint64_t most = 0;
  bool html = true;
  float ratio = 0;
  bool operator==(const Mail&) const = default;
};
TIDEMILL_FIELDS(Mail, to, from, copies, weights, flags, least, most, html, ratio)

}  // namespace app

namespace {

using tidemill::Codec;

static_assert(tidemill::Payload<app::Mail>);
static_assert(tidemill::Encodable<app::Address> && !tidemill::Payload<app::Address>);

std::string error_of(std::string_view bytes) {
  try {
    Codec<app::Mail>::decode(bytes);
  } catch (const tidemill::Error& error) {
    EXPECT_EQ(error.kind(), tidemill::ErrorKind::corrupt);
    return error.what();
  }
  return "no error";
}

TEST(Json, EveryTypeSurvivesARoundTrip) {
  const app::Mail mail{.to = "a\"b\\c\n\x01 é",
                       .from = app::Address{"Main St", 255},
                       .copies = {{"X", 1}, {"Y", 2}},
                       .weights = {{"k", 0.1}, {"l", -1e300}},
                       .flags = {true, false},
                       .least = std::numeric_limits<std::int64_t>::min(),
                       .most = std::numeric_limits<std::uint64_t>::max(),
                       .html = false,
                       .ratio = 0.25F};
  EXPECT_EQ(Codec<app::Mail>::decode(Codec<app::Mail>::encode(mail)), mail);
}

TEST(Json, IsWrittenAsOneWouldExpect) {
  const app::Address address{.street = "Main \"St\"", .number = 7};
  EXPECT_EQ(Codec<app::Address>::encode(address), R"({"street":"Main \"St\"","number":7})");
}

TEST(Json, AbsentMembersKeepTheirDefaultAndUnknownOnesAreIgnored) {
  const auto mail = Codec<app::Mail>::decode(R"({"to":"x","added_next_year":{"a":[1]}})");
  EXPECT_EQ(mail.to, "x");
  EXPECT_TRUE(mail.html);
  EXPECT_FALSE(mail.from);
}

TEST(Json, NullEmptiesAnOptional) { EXPECT_FALSE(Codec<app::Mail>::decode(R"({"from":null})").from); }

TEST(Json, BytesThatAreNoUtf8AreReplacedSoThatTheTextStaysJson) {
  app::Address address;
  address.street = std::string{"a\xff\xc0\xaf z\xed\xa0\x80"};
  const auto text = Codec<app::Address>::encode(address);
  EXPECT_EQ(Codec<app::Address>::decode(text).street,
            "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd z\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(Json, NumbersThatJsonLacksBecomeNull) {
  std::string text;
  tidemill::json::Writer{text}.write(std::numeric_limits<double>::infinity());
  EXPECT_EQ(text, "null");
}

TEST(Json, AMistakeIsNamedByItsPlace) {
  EXPECT_EQ(error_of(R"({"to":1})"), "payload: to must be a string, and is of type int64");
  EXPECT_EQ(error_of(R"({"copies":[{"number":1},{"number":256}]})"),
            "payload: copies.1.number must be a number in range, and is of type int64");
  EXPECT_EQ(error_of(R"({"weights":{"k":"x"}})"),
            "payload: weights.k must be a number, and is of type string");
  EXPECT_EQ(error_of(R"({"most":-1})"),
            "payload: most must be a whole number from 0 in range, and is of type int64");
  EXPECT_EQ(error_of(R"({"copies":{}})"), "payload: copies must be an array, and is of type object");
  EXPECT_EQ(error_of("[]"), "payload: must be an object, and is of type array");
}

TEST(Json, TextThatIsNoJsonIsAnError) {
  EXPECT_EQ(error_of("{").substr(0, 20), "payload is no JSON: ");
  EXPECT_EQ(error_of("").substr(0, 20), "payload is no JSON: ");
  EXPECT_EQ(error_of(R"({"to":"x"} trailing)").substr(0, 20), "payload is no JSON: ");
  EXPECT_EQ(error_of(std::string(100'000, '[')).substr(0, 20), "payload is no JSON: ");
}

}  // namespace
