// A schedule as JSON, as it rests in a store.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/schedule_rule.hpp"
#include "core/utf8.hpp"

namespace tidemill {

namespace {

namespace bj = boost::json;

/// JSON has characters only; bytes that are none become {"hex": "…"}.
bj::value encode(std::string_view text) {
  if (is_utf8(text)) return bj::value(text);
  std::string hex;
  for (const char c : text) fmt::format_to(std::back_inserter(hex), "{:02x}", static_cast<unsigned char>(c));
  return bj::object{{"hex", hex}};
}

bj::value encode(Duration duration) { return duration.count(); }
bj::value encode(TimePoint instant) { return instant.time_since_epoch().count(); }

bj::object encode(const Unique& unique) {
  return {{"key", encode(std::string_view{unique.key})},
          {"window_us", encode(unique.window)},
          {"outlives_task", unique.outlives_task},
          {"on_conflict", to_string(unique.on_conflict)}};
}

bj::object encode(const EnqueueOptions& options) {
  bj::object out{{"queue", encode(std::string_view{options.queue})},
                 {"delay_us", encode(options.delay)},
                 {"priority", options.priority},
                 {"retries_max", options.retries_max},
                 {"crashes_max", options.crashes_max},
                 {"timeout_us", encode(options.timeout)},
                 {"retention_us", encode(options.retention)},
                 {"held", options.held},
                 {"group", encode(std::string_view{options.group})}};
  if (options.deadline) out["deadline_us"] = encode(*options.deadline);
  if (options.expires_at) out["expires_at_us"] = encode(*options.expires_at);
  if (options.unique) out["unique"] = encode(*options.unique);
  bj::array headers;
  for (const auto& [name, value] : options.headers) {
    headers.push_back(bj::array{encode(std::string_view{name}), encode(std::string_view{value})});
  }
  if (!headers.empty()) out["headers"] = std::move(headers);
  return out;
}

/// Reads the members of one object; what is wrong is told with its place.
class Reader {
 public:
  Reader(const bj::object& object, const StoredSchedule& stored) : object_(object), stored_(stored) {}

  void read(std::string_view name, std::string& out) const {
    if (const bj::value* value = find(name)) out = text(name, *value);
  }
  void read(std::string_view name, bool& out) const {
    const bj::value* value = find(name);
    if (value == nullptr) return;
    if (!value->is_bool()) fail(name, "is no boolean");
    out = value->get_bool();
  }
  void read(std::string_view name, std::int32_t& out) const {
    std::int64_t wide = out;
    read_number(name, wide);
    out = static_cast<std::int32_t>(wide);
    if (out != wide) fail(name, "is out of range");
  }
  void read(std::string_view name, Duration& out) const {
    std::int64_t count = out.count();
    read_number(name, count);
    out = Duration{count};
  }
  void read(std::string_view name, std::optional<TimePoint>& out) const {
    std::int64_t count = 0;
    if (read_number(name, count)) out = TimePoint{Duration{count}};
  }
  template <class E>
  void read(std::string_view name, E& out, std::optional<E> (*parse)(std::string_view) noexcept) const {
    std::string word;
    read(name, word);
    if (word.empty()) return;
    const std::optional<E> value = parse(word);
    if (!value) fail(name, fmt::format("is \"{}\", which this version does not know", word));
    out = *value;
  }
  void read_headers(std::string_view name, std::map<std::string, std::string>& out) const {
    const bj::value* value = find(name);
    if (value == nullptr) return;
    if (!value->is_array()) fail(name, "is no array");
    for (const bj::value& each : value->get_array()) {
      const bj::array* pair = each.if_array();
      if (pair == nullptr || pair->size() != 2) fail(name, "holds what is no pair of name and value");
      out[text(name, (*pair)[0])] = text(name, (*pair)[1]);
    }
  }
  std::optional<Reader> object(std::string_view name) const {
    const bj::value* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_object()) fail(name, "is no object");
    return Reader{value->get_object(), stored_};
  }

 private:
  const bj::value* find(std::string_view name) const { return object_.if_contains(name); }

  [[noreturn]] void fail(std::string_view name, std::string_view why) const {
    throw Error{ErrorKind::corrupt,
                fmt::format("schedule \"{}\": its rule's \"{}\" {}", stored_.id, name, why)};
  }

  bool read_number(std::string_view name, std::int64_t& out) const {
    const bj::value* value = find(name);
    if (value == nullptr) return false;
    boost::system::error_code error;
    out = value->to_number<std::int64_t>(error);
    if (error) fail(name, "is no whole number");
    return true;
  }

  std::string text(std::string_view name, const bj::value& value) const {
    if (value.is_string()) return std::string{std::string_view{value.get_string()}};
    const bj::object* object = value.if_object();
    const bj::value* hex = object == nullptr ? nullptr : object->if_contains("hex");
    if (hex == nullptr || !hex->is_string()) fail(name, "is no text");
    const std::string_view digits = hex->get_string();
    std::string bytes(digits.size() / 2, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      unsigned byte = 0;
      const char* const begin = digits.data() + 2 * i;
      const auto [end, error] = std::from_chars(begin, begin + 2, byte, 16);
      if (error != std::errc{} || end != begin + 2) fail(name, "has what is no hexadecimal digit");
      bytes[i] = static_cast<char>(byte);
    }
    return bytes;
  }

  const bj::object& object_;
  const StoredSchedule& stored_;
};

std::optional<OnConflict> parse_on_conflict(std::string_view name) noexcept {
  for (const OnConflict what : {OnConflict::keep, OnConflict::reject, OnConflict::replace}) {
    if (to_string(what) == name) return what;
  }
  return {};
}

Unique read_unique(const Reader& reader) {
  Unique unique;
  reader.read("key", unique.key);
  reader.read("window_us", unique.window);
  reader.read("outlives_task", unique.outlives_task);
  reader.read("on_conflict", unique.on_conflict, parse_on_conflict);
  return unique;
}

void read_options(const Reader& reader, EnqueueOptions& options) {
  reader.read("queue", options.queue);
  reader.read("delay_us", options.delay);
  reader.read("priority", options.priority);
  reader.read("retries_max", options.retries_max);
  reader.read("crashes_max", options.crashes_max);
  reader.read("timeout_us", options.timeout);
  reader.read("retention_us", options.retention);
  reader.read("held", options.held);
  reader.read("group", options.group);
  reader.read("deadline_us", options.deadline);
  reader.read("expires_at_us", options.expires_at);
  if (const auto unique = reader.object("unique")) options.unique = read_unique(*unique);
  reader.read_headers("headers", options.headers);
}

}  // namespace

std::string to_json(const Schedule& schedule) {
  const bj::object rule{{"spec", encode(std::string_view{schedule.spec})},
                        {"zone", encode(std::string_view{schedule.zone})},
                        {"zone_data", time_zone_database_version()},
                        {"gap", to_string(schedule.gap)},
                        {"fold", to_string(schedule.fold)},
                        {"missed", to_string(schedule.missed)},
                        {"overlap", to_string(schedule.overlap)},
                        {"jitter_us", encode(schedule.jitter)},
                        {"kind", encode(std::string_view{schedule.kind})},
                        {"payload", encode(std::string_view{schedule.payload})},
                        {"options", encode(schedule.options)}};
  return bj::serialize(rule);
}

StoredRule parse_rule(const StoredSchedule& stored) {
  boost::system::error_code error;
  const bj::value document = bj::parse(stored.rule, error);
  if (error || !document.is_object()) {
    throw Error{ErrorKind::corrupt, fmt::format("schedule \"{}\": its rule is no JSON object", stored.id)};
  }
  const Reader reader{document.get_object(), stored};
  StoredRule rule;
  Schedule& schedule = rule.schedule;
  schedule.id = stored.id;
  reader.read("zone_data", rule.zone_data);
  reader.read("spec", schedule.spec);
  reader.read("zone", schedule.zone);
  reader.read("gap", schedule.gap, parse_gap);
  reader.read("fold", schedule.fold, parse_fold);
  reader.read("missed", schedule.missed, parse_missed);
  reader.read("overlap", schedule.overlap, parse_overlap);
  reader.read("jitter_us", schedule.jitter);
  reader.read("kind", schedule.kind);
  reader.read("payload", schedule.payload);
  if (const auto options = reader.object("options")) read_options(*options, schedule.options);
  return rule;
}

}  // namespace tidemill
