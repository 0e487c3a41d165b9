#include "wire/value_json.hpp"

#include <array>

#include <tidemill/log.hpp>

namespace tidemill::wire {

State read_state(const JsonValue& value) {
  static const std::vector<State> all = [] {
    std::vector<State> states;
    for (unsigned i = 0; i < state_count; ++i) states.push_back(State{static_cast<std::uint8_t>(i)});
    return states;
  }();
  return value.name<State>("state", all);
}

std::string read_body(const JsonValue& value) {
  using Member = JsonMember<std::string>;
  static constexpr std::array members = {
      Member{"format", [](std::string&, const JsonValue&) {}},
      Member{"bytes", [](std::string&, const JsonValue&) {}},
      Member{"text", [](std::string& body, const JsonValue& v) { body = v.text(); }},
      Member{"base64", [](std::string& body, const JsonValue& v) { body = v.base64(); }},
  };
  std::string body;
  read_members<std::string>(value, body, members);
  return body;
}

std::vector<LogLine> read_logs(const JsonValue& value) {
  using Member = JsonMember<LogLine>;
  static constexpr std::array levels = {Level::debug, Level::info, Level::warning, Level::error,
                                        Level::silent};
  static constexpr std::array members = {
      Member{"at", [](LogLine& l, const JsonValue& v) { l.at = v.time(); }},
      Member{"level", [](LogLine& l, const JsonValue& v) { l.level = v.name<Level>("level", levels); }},
      Member{"text", [](LogLine& l, const JsonValue& v) { l.text = v.text(); }},
  };
  std::vector<LogLine> lines;
  for (const JsonValue& each : value.elements()) read_members<LogLine>(each, lines.emplace_back(), members);
  return lines;
}

}  // namespace tidemill::wire
