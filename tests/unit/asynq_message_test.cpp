// Asynq's messages in Redis: the bytes that Go makes of them, both ways, and bytes that are no message.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "stores/redis/message.hpp"

namespace tidemill::redis_store {
namespace {

using std::chrono::seconds;

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16));
  }
  return bytes;
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

constexpr TimePoint second(std::int64_t unix_seconds) {
  return TimePoint{std::chrono::sys_seconds{seconds{unix_seconds}}};
}

/// Go wrote .123456789, of which our times keep the microseconds.
constexpr TimePoint at_fraction = second(1'700'000'000) + Duration{123'456};

/// Go's bytes with nanoseconds cut to microseconds: 123456789 and 123456000 take the same length.
std::string in_microseconds(std::string hex) {
  constexpr std::string_view nanos = "10959aef3a";
  constexpr std::string_view micros = "108094ef3a";
  for (std::size_t at = hex.find(nanos); at != std::string::npos; at = hex.find(nanos)) {
    hex.replace(at, nanos.size(), micros);
  }
  return hex;
}

/// Go's bytes mean this, and this becomes Go's bytes.
template <class Message>
void expect_golden(const std::string& hex, const Message& message,
                   std::optional<Message> (*decode)(std::string_view)) {
  SCOPED_TRACE(hex);
  EXPECT_EQ(to_hex(encode(message)), in_microseconds(hex));
  const std::optional<Message> decoded = decode(from_hex(hex));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(*decoded, message);
}

TaskMessage task_i() { return {.type = "t", .id = "i", .queue = "q"}; }

TEST(AsynqMessage, ATaskAsMostAre) {
  expect_golden(
      "0a0a656d61696c3a73656e64120e7b22757365725f6964223a34327d1a2430313233343536372d383961622d63646566"
      "2d303132332d343536373839616263646566220764656661756c74281940880e",
      TaskMessage{.type = "email:send",
                  .payload = R"({"user_id":42})",
                  .id = "01234567-89ab-cdef-0123-456789abcdef",
                  .queue = "default",
                  .max_retry = 25,
                  .timeout = seconds{1800}},
      decode_task);
}

TEST(AsynqMessage, ATaskWithAllFields) {
  expect_golden(
      "0a01741201701a0169220171280330023a04626f6f6d403c4880e2cfaa0652336173796e713a7b717d3a756e69717565"
      "3a743a383338373863393131373133333839303265306665306662393761386334376158"
      "81e2cfaa0660901c6882e2cfaa06720267317a060a016b120176",
      TaskMessage{.type = "t",
                  .payload = "p",
                  .id = "i",
                  .queue = "q",
                  .max_retry = 3,
                  .retried = 2,
                  .error = "boom",
                  .timeout = seconds{60},
                  .deadline = second(1'700'000'000),
                  .unique_key = "asynq:{q}:unique:t:83878c91171338902e0fe0fb97a8c47a",
                  .last_failed_at = second(1'700'000'001),
                  .retention = seconds{3600},
                  .completed_at = second(1'700'000'002),
                  .group = "g1",
                  .headers = {{"k", "v"}}},
      decode_task);
}

TEST(AsynqMessage, AHeaderHasKeyAndValueEvenWhenEmpty) {
  TaskMessage message = task_i();
  message.headers = {{"", ""}};
  expect_golden("0a01741a01692201717a040a001200", message, decode_task);
}

TEST(AsynqMessage, NegativeNumbersTakeTenBytes) {
  TaskMessage message = task_i();
  message.max_retry = -1;
  message.deadline = second(-5);
  expect_golden("0a01741a016922017128ffffffffffffffffff0148fbffffffffffffffff01", message, decode_task);
}

TEST(AsynqMessage, AnEmptyPayloadIsLeftOut) { expect_golden("0a01741a0169220171", task_i(), decode_task); }

TEST(AsynqMessage, AServer) {
  expect_golden(
      "0a0268311092211a03736964200a2a0b0a0764656661756c7410013a06616374697665420b0880e2cfaa0610959aef3a"
      "4802",
      ServerInfo{.host = "h1",
                 .pid = 4242,
                 .server_id = "sid",
                 .concurrency = 10,
                 .queues = {{"default", 1}},
                 .status = "active",
                 .started_at = at_fraction,
                 .active_workers = 2},
      decode_server);
}

TEST(AsynqMessage, AServerWithStrictPriorityAndAnOddWeight) {
  const ServerInfo info{.queues = {{"a", -1}, {"b", 0}}, .strict_priority = true, .started_at = second(0)};
  EXPECT_EQ(to_hex(encode(info)), "2a0e0a016110ffffffffffffffffff012a050a0162100030014200");
  EXPECT_EQ(decode_server(encode(info)), info);
}

TEST(AsynqMessage, AWorker) {
  expect_golden(
      "0a0268311092211a037369642201692a01743201703a0171420b0880e2cfaa0610959aef3a4a0b0888f0cfaa06"
      "10959aef3a",
      WorkerInfo{.host = "h1",
                 .pid = 4242,
                 .server_id = "sid",
                 .task_id = "i",
                 .task_type = "t",
                 .task_payload = "p",
                 .queue = "q",
                 .started_at = at_fraction,
                 .deadline = at_fraction + std::chrono::minutes{30}},
      decode_worker);
}

TEST(AsynqMessage, ASchedulersEntryBeforeAndAfterItsFirstTask) {
  SchedulerEntry entry{.id = "e1",
                       .spec = "@every 30s",
                       .task_type = "t",
                       .task_payload = "p",
                       .options = {R"(Queue("low"))", "MaxRetry(3)"},
                       .next_at = at_fraction};
  const std::string same =
      "0a026531120a406576657279203330731a01742201702a0c517565756528226c6f7722292a0b4d61785265747279283329"
      "320b0880e2cfaa0610959aef3a";
  expect_golden(same + "3a0b088092b8c398feffffff01", entry, decode_scheduler_entry);
  entry.previous_at = at_fraction - seconds{30};
  expect_golden(same + "3a0b08e2e1cfaa0610959aef3a", entry, decode_scheduler_entry);
}

TEST(AsynqMessage, AnEnqueueEvent) {
  expect_golden("0a0169120b0880e2cfaa0610959aef3a", SchedulerEnqueueEvent{"i", at_fraction},
                decode_enqueue_event);
  expect_golden("0a016912060880e2cfaa06", SchedulerEnqueueEvent{"i", second(1'700'000'000)},
                decode_enqueue_event);
}

TEST(AsynqMessage, TimesAreWrittenEvenWhenThereAreNone) {
  const std::string never = "0b088092b8c398feffffff01";
  EXPECT_EQ(to_hex(encode(ServerInfo{})), fmt::format("42{}", never));
  EXPECT_EQ(to_hex(encode(WorkerInfo{})), fmt::format("42{0}4a{0}", never));
  EXPECT_EQ(to_hex(encode(SchedulerEntry{})), fmt::format("32{0}3a{0}", never));
  EXPECT_EQ(to_hex(encode(SchedulerEnqueueEvent{})), fmt::format("12{}", never));
}

TEST(AsynqMessage, TimesStayWithinTheYearsThatGoReads) {
  EXPECT_EQ(encode(SchedulerEnqueueEvent{"i", TimePoint::min()}), encode(SchedulerEnqueueEvent{"i", {}}));
  const auto last = decode_enqueue_event(encode(SchedulerEnqueueEvent{"i", TimePoint::max()}));
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->enqueued_at, second(253'402'300'799));
  const SchedulerEnqueueEvent before_1970{"i", second(-1) + Duration{1}};
  EXPECT_EQ(decode_enqueue_event(encode(before_1970)), before_1970);
}

TEST(AsynqMessage, TimesThatAreNoneAreRefused) {
  EXPECT_TRUE(decode_enqueue_event(from_hex("12020801")));
  EXPECT_FALSE(decode_enqueue_event(from_hex("120b08ff91b8c398feffffff01"))) << "before year 1";
  EXPECT_FALSE(decode_enqueue_event(from_hex("1207088083d1ffaf07"))) << "year 10000";
  EXPECT_TRUE(decode_enqueue_event(from_hex("120610ff93ebdc03"))) << "999 999 999 ns";
  EXPECT_FALSE(decode_enqueue_event(from_hex("1206108094ebdc03"))) << "1 000 000 000 ns";
  EXPECT_FALSE(decode_enqueue_event(from_hex("120b10ffffffffffffffffff01"))) << "-1 ns";
  EXPECT_FALSE(decode_enqueue_event(from_hex("120108"))) << "the number is missing";
}

TEST(AsynqMessage, PayloadsMayHaveAnyBytes) {
  TaskMessage message = task_i();
  for (int byte = 0; byte < 256; ++byte) message.payload += static_cast<char>(byte);
  EXPECT_EQ(decode_task(encode(message)), message);
}

TEST(AsynqMessage, BadBytesOfTextsAreReplaced) {
  TaskMessage message = task_i();
  message.error = "a\xff\xc3(\xed\xa0\x80z";
  message.headers = {{"\xfe", "x\x80"}};
  const auto decoded = decode_task(encode(message));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->error, "a\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFDz");
  EXPECT_EQ(decoded->headers, (std::map<std::string, std::string>{{"\uFFFD", "x\uFFFD"}}));

  const auto server = decode_server(encode(ServerInfo{.queues = {{"q\xff", 2}}}));
  ASSERT_TRUE(server.has_value());
  EXPECT_EQ(server->queues, (std::map<std::string, std::int32_t>{{"q\uFFFD", 2}}));
}

TEST(AsynqMessage, BadBytesInTextsAreRefused) {
  for (const int field : {1, 3, 4, 7, 10, 14}) {
    EXPECT_FALSE(decode_task(from_hex(fmt::format("{:02x}01ff", field << 3 | 2)))) << field;
    EXPECT_TRUE(decode_task(from_hex(fmt::format("{:02x}0141", field << 3 | 2)))) << field;
  }
  EXPECT_TRUE(decode_task(from_hex("1201ff"))) << "the payload";
  EXPECT_FALSE(decode_task(from_hex("7a030a01ff"))) << "a header's name";
  EXPECT_FALSE(decode_task(from_hex("7a051201ff0a00"))) << "a header's value";
  EXPECT_FALSE(decode_server(from_hex("2a030a01ff"))) << "a queue";
  EXPECT_FALSE(decode_scheduler_entry(from_hex("2a01ff"))) << "an option";
}

TEST(AsynqMessage, UnknownFieldsAreSkipped) {
  // 16: number, 17: bytes, 18: fixed64, 19: fixed32, and 3 with a number where a text belongs.
  const std::string more =
      "800105"
      "8a0102ffff"
      "91010102030405060708"
      "9d0101020304"
      "1807";
  EXPECT_EQ(decode_task(from_hex("0a0174" + more + "1a0169220171")), task_i());
  // A header with a field more, and one without its value.
  const auto headers =
      decode_task(from_hex("7a080a016b1201761805"
                           "7a030a0161"));
  ASSERT_TRUE(headers.has_value());
  EXPECT_EQ(headers->headers, (std::map<std::string, std::string>{{"a", ""}, {"k", "v"}}));
}

TEST(AsynqMessage, OptionsMayBeEmptyButMustBeTexts) {
  const SchedulerEntry entry{.options = {"", "a", ""}};
  EXPECT_EQ(decode_scheduler_entry(encode(entry)), entry);
  EXPECT_EQ(decode_scheduler_entry(from_hex("2805")), SchedulerEntry{}) << "a number in their place";
}

TEST(AsynqMessage, ATasksTimesAreCutToSeconds) {
  TaskMessage message = task_i();
  message.deadline = second(1'700'000'000) + Duration{999'999};
  message.last_failed_at = second(-1) + Duration{1};
  message.completed_at = second(0) + Duration{1};
  const auto decoded = decode_task(encode(message));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->deadline, second(1'700'000'000));
  EXPECT_EQ(decoded->last_failed_at, second(-1));
  EXPECT_FALSE(decoded->completed_at.has_value());
}

TEST(AsynqMessage, TheLastOfAFieldCounts) {
  EXPECT_EQ(decode_task(from_hex("0a017828050a01741a016922017128004805"
                                 "4800")),
            task_i());
  EXPECT_EQ(decode_task(from_hex("28ffffffff1f"))->max_retry, -1) << "32 bits count";
}

TEST(AsynqMessage, BytesThatAreNoMessageAreRefused) {
  EXPECT_EQ(decode_task(""), TaskMessage{});
  for (const std::string_view hex : {
           "0a",                        // No length.
           "0a05746578",                // Shorter than it says.
           "0affffffffffffffffff01",    // The longest length there is.
           "0a80",                      // A length that does not end.
           "28",                        // No number.
           "28ff",                      // A number that does not end.
           "28ffffffffffffffffff02",    // More than 64 bits.
           "28ffffffffffffffffffff01",  // More than ten bytes.
           "8180808000",                // A fixed64 without its bytes.
           "0001",                      // Field 0.
           "808080801001",              // Field 2^29.
           "81",                        // A head that does not end.
           "0b0c",                      // A group.
           "0c",                        // The end of one.
           "0e",
           "0f",          // No wire types.
           "8d01010203",  // Three bytes of a fixed32.
           "7a020a05",    // A header that is longer than its entry.
           "7a0128",      // A header with half a field.
       }) {
    EXPECT_FALSE(decode_task(from_hex(hex))) << hex;
  }
}

TEST(AsynqMessage, NumbersBeyondAllTimesAreBroughtIntoThem) {
  // Timeout and retention 2^63 - 1 and -2^63, deadline 2^63 - 1: safe to reckon with in microseconds.
  const auto message =
      decode_task(from_hex("40ffffffffffffffff7f"
                           "6080808080808080808001"
                           "48ffffffffffffffff7f"));
  ASSERT_TRUE(message.has_value());
  EXPECT_GT(Duration{message->timeout}, std::chrono::years{9'000});
  EXPECT_LT(Duration{message->retention}, -std::chrono::years{9'000});
  EXPECT_EQ(message->deadline, second(253'402'300'799));
  EXPECT_EQ(decode_task(encode(*message)), message);
}

TEST(AsynqMessage, EveryPartOfAMessageIsReadOrRefused) {
  TaskMessage message = task_i();
  message.headers = {{"key", "value"}};
  message.deadline = second(1'700'000'000);
  const std::string bytes = encode(message);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto part = decode_task(std::string_view{bytes}.substr(0, size));
    EXPECT_TRUE(!part || *part != message) << size;
  }
}

}  // namespace
}  // namespace tidemill::redis_store
