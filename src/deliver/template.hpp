#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/task.hpp>

namespace tidemill::deliver {

/// What templates are filled from: one attempt at one task. Both must outlive it.
///
/// Thread safety: none; one a call.
class TaskValues {
 public:
  TaskValues(const Task& of, std::int32_t number) : task(of), attempt(number) {}

  /// The JSON text, exactly as it was sent, of what lies there in the payload. Throws Error{invalid} that
  /// says what is missing where.
  std::string_view payload_at(const std::vector<std::string>& path) const;

  const Task& task;
  const std::int32_t attempt;

 private:
  mutable std::optional<bool> is_json_ = {};
};

/// A text with places to fill in: {{kind}}, {{id}}, {{queue}}, {{attempt}}, {{payload}}, {{payload.user.id}},
/// {{payload.list.0}} and {{headers.NAME}}, which is a header of the task.
///
/// Where it is used says how values are written:
/// - url: percent-encoded. A placeholder at the very beginning may be a whole URL, and stays as it is.
/// - header: as they are; a line break or zero byte is an error.
/// - body: as JSON, so that the body is JSON if the text around them is. {{payload}} is inserted as it is.
///   Between double quotes, a value is inserted as a part of that JSON string: "Hello {{payload.name}}".
///
/// Thread safety: all members may be called from any thread.
class Template {
 public:
  enum class Use : std::uint8_t { url, header, body };

  /// Throws Error{invalid} with the column, and what would be right.
  Template(std::string_view text, Use use);

  /// Throws Error{invalid} that says which placeholder has no value that fits, and why.
  std::string render(const TaskValues& values) const;

  /// The text before the first placeholder.
  std::string_view beginning() const noexcept;
  /// There are no placeholders.
  bool fixed() const noexcept;

 private:
  enum class Source : std::uint8_t { text, kind, id, queue, attempt, payload, member, header };
  struct Piece {
    Source source = Source::text;
    std::string text = {};               ///< Literal; the placeholder's own text otherwise.
    std::vector<std::string> path = {};  ///< Of a member.
    std::string header = {};
    bool quoted = false;  ///< It stands between double quotes.
  };

  static Piece placeholder(std::string_view inner, std::size_t column);
  std::string value(const Piece& piece, const TaskValues& values) const;
  static std::string plain(const Piece& piece, const TaskValues& values);
  static std::string json(const Piece& piece, const TaskValues& values);

  Use use_;
  std::vector<Piece> pieces_ = {};
};

}  // namespace tidemill::deliver
