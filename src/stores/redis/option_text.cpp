#include "stores/redis/option_text.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include <tidemill/json.hpp>

#include "stores/redis/go_text.hpp"

namespace tidemill::redis_store {

namespace {

std::string duration_text(Duration length) {
  using std::chrono::nanoseconds;
  constexpr auto least = std::chrono::ceil<Duration>(nanoseconds::min());
  constexpr auto most = std::chrono::floor<Duration>(nanoseconds::max());
  return format_go_duration(std::clamp(length, least, most));
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

/// As Go's encoder, which keeps out of the way of HTML and of JavaScript.
std::string json_pair(std::string_view key, std::string_view value) {
  std::string text{'['};
  json::Writer writer{text};
  writer.write(key);
  text += ',';
  writer.write(value);
  text += ']';
  replace_all(text, "<", "\\u003c");
  replace_all(text, ">", "\\u003e");
  replace_all(text, "&", "\\u0026");
  replace_all(text, "\u2028", "\\u2028");
  replace_all(text, "\u2029", "\\u2029");
  return text;
}

std::optional<std::int32_t> read_count(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(value, 0, std::numeric_limits<std::int32_t>::max()));
}

std::optional<Duration> read_duration(std::string_view text) {
  const auto length = parse_go_duration(text);
  if (!length) return {};
  return std::chrono::floor<Duration>(*length);
}

/// The last one that can be read counts.
template <class Value>
void set(std::optional<Value>& option, std::optional<Value> value) {
  if (value) option = std::move(value);
}

void read_option(std::string_view name, std::string_view argument, EnqueueOptions& options) {
  if (name == "MaxRetry") set(options.max_retry, read_count(argument));
  if (name == "Queue") set(options.queue, unquote_go(argument));
  if (name == "Timeout") set(options.timeout, read_duration(argument));
  if (name == "Deadline") set(options.deadline, parse_unix_date(argument));
  if (name == "Unique") set(options.unique, read_duration(argument));
  if (name == "ProcessAt") set(options.process_at, parse_unix_date(argument));
  if (name == "ProcessIn") set(options.process_in, read_duration(argument));
  if (name == "Retention") set(options.retention, read_duration(argument));
}

}  // namespace

std::vector<std::string> write_options(const EnqueueOptions& options) {
  std::vector<std::string> texts;
  const auto add = [&](std::string_view name, std::string_view argument) {
    texts.push_back(fmt::format("{}({})", name, argument));
  };
  if (options.max_retry) add("MaxRetry", fmt::format("{}", *options.max_retry));
  if (options.queue) add("Queue", quote_go(*options.queue));
  if (options.task_id) add("TaskID", quote_go(*options.task_id));
  if (options.timeout) add("Timeout", duration_text(*options.timeout));
  if (options.deadline) add("Deadline", format_unix_date(*options.deadline));
  if (options.unique) add("Unique", duration_text(*options.unique));
  if (options.process_at) add("ProcessAt", format_unix_date(*options.process_at));
  if (options.process_in) add("ProcessIn", duration_text(*options.process_in));
  if (options.retention) add("Retention", duration_text(*options.retention));
  if (options.group) add("Group", quote_go(*options.group));
  for (const auto& [key, value] : options.headers) add("Header", json_pair(key, value));
  return texts;
}

EnqueueOptions read_options(std::span<const std::string> texts) {
  EnqueueOptions options;
  for (const std::string_view text : texts) {
    const std::size_t open = text.find('(');
    const std::size_t close = text.find(')');
    if (open == std::string_view::npos || close == std::string_view::npos) continue;
    read_option(text.substr(0, open), text.substr(open + 1, close - open - 1), options);
  }
  return options;
}

}  // namespace tidemill::redis_store
