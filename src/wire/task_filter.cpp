#include "wire/task_filter.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

const std::vector<std::string> names = {"state", "queue", "kind", "group", "text", "created_before"};

/// The next word, without its quotes; what stands in them may hold blanks, and \" and \\ for what these are.
std::string take_word(std::string_view& text) {
  std::string word;
  bool quoted = false;
  std::size_t at = 0;
  for (; at < text.size() && (quoted || text[at] != ' '); ++at) {
    if (text[at] == '"') {
      quoted = !quoted;
    } else if (quoted && text[at] == '\\' && at + 1 < text.size()) {
      word += text[++at];
    } else {
      word += text[at];
    }
  }
  if (quoted) throw Error{ErrorKind::invalid, fmt::format("a quote is not closed: {}", text)};
  text.remove_prefix(std::min(at + 1, text.size()));
  return word;
}

std::string quoted(std::string_view value) {
  if (value.find_first_of(" \"") == std::string_view::npos) return std::string{value};
  std::string out{"\""};
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

States parse_states(std::string_view text) {
  static const std::vector<State> all = [] {
    std::vector<State> states;
    for (unsigned i = 1; i < state_count; ++i) states.push_back(State{static_cast<std::uint8_t>(i)});
    return states;
  }();
  States found;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(name.size() + 1, text.size()));
    found = found + parse_name<State>("state", name, all);
  }
  return found;
}

void set_filter(Filter& filter, std::string_view name, std::string_view value) {
  if (value.empty()) throw Error{ErrorKind::invalid, fmt::format("{}: has no value", name)};
  if (name == "state") {
    filter.states = parse_states(value);
  } else if (name == "queue") {
    filter.queue = value;
  } else if (name == "kind") {
    filter.kind = value;
  } else if (name == "group") {
    filter.group = value;
  } else if (name == "text") {
    filter.text = value;
  } else if (name == "created_before") {
    filter.created_before = parse_time(value);
  } else {
    throw Error{ErrorKind::invalid,
                fmt::format("there is no field \"{}\"; there are {}", name, either(names))};
  }
}

Filter parse_filter(std::string_view text) {
  Filter filter;
  std::string words;
  while (!text.empty()) {
    const std::string word = take_word(text);
    const std::size_t colon = word.find(':');
    if (word.empty()) continue;
    if (colon == std::string::npos || colon == 0) {
      words += (words.empty() ? "" : " ") + word;
    } else {
      set_filter(filter, std::string_view{word}.substr(0, colon), std::string_view{word}.substr(colon + 1));
    }
  }
  if (!words.empty()) filter.text = words;
  return filter;
}

std::string format_filter(const Filter& filter) {
  std::string out;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out += fmt::format("{}{}:{}", out.empty() ? "" : " ", name, quoted(value));
  };
  if (filter.states != States::all()) {
    std::string states;
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      if (filter.states.has(state))
        states += fmt::format("{}{}", states.empty() ? "" : ",", to_string(state));
    }
    add("state", states);
  }
  add("queue", filter.queue);
  add("kind", filter.kind);
  add("group", filter.group);
  if (filter.created_before) add("created_before", format_time(*filter.created_before));
  add("text", filter.text);
  return out;
}

}  // namespace tidemill::wire
