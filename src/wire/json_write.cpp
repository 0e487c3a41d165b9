#include "wire/json_write.hpp"

#include <algorithm>

#include <boost/json.hpp>

#include <tidemill/log.hpp>

#include "core/utf8.hpp"
#include "wire/base64.hpp"
#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

namespace bj = boost::json;

/// A payload that is deeper travels as text, so that the document around it stays within what is read.
constexpr std::size_t payload_depth_max = 24;

bool is_shallow_json(std::string_view text) {
  bj::error_code failure;
  bj::parse(bj::string_view{text.data(), text.size()}, failure, {}, {.max_depth = payload_depth_max});
  return !failure;
}

bool is_text(std::string_view bytes) { return bytes.find('\0') == std::string_view::npos && is_utf8(bytes); }

}  // namespace

bool is_json(std::string_view text) {
  bj::error_code failure;
  bj::parse(bj::string_view{text.data(), text.size()}, failure);
  return !failure;
}

void member_time(json::Writer& writer, std::string_view name, const std::optional<TimePoint>& time) {
  if (time) writer.member(name, format_time(*time));
}

void member_text(json::Writer& writer, std::string_view name, std::string_view text) {
  if (!text.empty()) writer.member(name, text);
}

void member_payload(json::Writer& writer, std::string_view payload) {
  if (!is_json(payload)) {
    writer.member("payload_text", payload);
    return;
  }
  writer.key("payload");
  // Line breaks can only stand between values, as strings have none that are not escaped.
  std::string text{payload};
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  writer.raw(text);
}

void write_log_members(json::Writer& writer, const LogLine& line) {
  member_time(writer, "at", line.at);
  writer.member("level", to_string(line.level));
  writer.member("text", line.text);
}

void member_logs(json::Writer& writer, std::span<const LogLine> lines) {
  writer.key("logs");
  write_array(writer, lines, [](json::Writer& out, const LogLine& line) {
    out.open('{');
    write_log_members(out, line);
    out.close('}');
  });
}

void member_body(json::Writer& writer, std::string_view name, std::string_view bytes) {
  member_object(writer, name, [&] {
    const bool json = is_json(bytes);
    const bool text = json || is_text(bytes);
    writer.member("format", json ? "json" : text ? "text" : "binary");
    writer.member("bytes", bytes.size());
    if (text) {
      writer.member("text", bytes);
    } else {
      writer.member("base64", encode_base64(bytes));
    }
  });
}

void member_payload_exactly(json::Writer& writer, std::string_view payload) {
  constexpr std::string_view blanks = " \t\r\n";
  const bool trimmed = !payload.empty() && blanks.find(payload.front()) == std::string_view::npos &&
                       blanks.find(payload.back()) == std::string_view::npos;
  if (trimmed && is_shallow_json(payload)) {
    writer.key("payload");
    writer.raw(payload);
  } else if (is_text(payload)) {
    writer.member("payload_text", payload);
  } else {
    writer.member("payload_base64", encode_base64(payload));
  }
}

}  // namespace tidemill::wire
