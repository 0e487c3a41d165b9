#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

/// Pieces of JSON documents that command line and server share.
namespace tidemill::wire {

/// One object with the members that `fill(writer)` puts into it.
template <class Fill>
std::string object(Fill fill) {
  std::string text;
  json::Writer writer{text};
  writer.open('{');
  fill(writer);
  writer.close('}');
  return text;
}

/// The array of what `fill(writer, item)` writes for each item.
template <class Items, class Fill>
void write_array(json::Writer& writer, const Items& items, Fill fill) {
  writer.open('[');
  for (const auto& item : items) {
    writer.comma();
    fill(writer, item);
  }
  writer.close(']');
}

/// An object as a member, with what `fill()` writes.
template <class Fill>
void member_object(json::Writer& writer, std::string_view name, Fill fill) {
  writer.key(name);
  writer.open('{');
  fill();
  writer.close('}');
}

/// RFC 3339; nothing when there is no time.
void member_time(json::Writer& writer, std::string_view name, const std::optional<TimePoint>& time);
/// Nothing when it is empty.
void member_text(json::Writer& writer, std::string_view name, std::string_view text);
/// As `payload`, if it is JSON, else as `payload_text`. Line breaks between the values of JSON become blanks.
void member_payload(json::Writer& writer, std::string_view payload);
/// Its time, level and text.
void write_log_members(json::Writer& writer, const LogLine& line);
/// [{"at":…,"level":…,"text":…}].
void member_logs(json::Writer& writer, std::span<const LogLine> lines);
/// {"format":"json","bytes":17,"text":"{\"to\":\"ada\"}"}: format is json, text or binary, and binary comes
/// as `base64`. JSON travels as text, so that its numbers stay as they are.
void member_body(json::Writer& writer, std::string_view name, std::string_view bytes);

/// As `payload`, `payload_text` or `payload_base64`, so that who reads it again has the very same bytes.
void member_payload_exactly(json::Writer& writer, std::string_view payload);

bool is_json(std::string_view text);

}  // namespace tidemill::wire
