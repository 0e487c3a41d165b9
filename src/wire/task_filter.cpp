#include "wire/task_filter.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

const std::vector<std::string> names = {"state",   "queue",        "kind",          "id", "group", "text",
                                        "created", "created_from", "created_before"};
/// Words of the language that no store has an answer to.
constexpr std::array<std::string_view, 14> later = {"worker",   "schedule", "unique", "op",      "origin",
                                                    "error",    "tag",      "header", "payload", "attempt",
                                                    "priority", "age",      "run",    "finished"};

struct Word {
  std::size_t column = 1;
  std::string text = {};
  bool quoted = false;        ///< It begins with a quote, so it is text, whatever stands in it.
  std::string_view raw = {};  ///< As it was written.
};

/// Without its quotes; what stands in them may hold blanks, and \" and \\ for what these are.
Word take_word(std::string_view& rest, std::size_t column) {
  Word word{.column = column, .quoted = rest.starts_with('"')};
  bool quoted = false;
  std::size_t at = 0;
  for (; at < rest.size() && (quoted || rest[at] != ' '); ++at) {
    if (rest[at] == '"') {
      quoted = !quoted;
    } else if (quoted && rest[at] == '\\' && at + 1 < rest.size()) {
      word.text += rest[++at];
    } else {
      word.text += rest[at];
    }
  }
  word.raw = rest.substr(0, at);
  if (quoted) throw FilterError{column, fmt::format("a quote is not closed: {}", word.raw)};
  rest.remove_prefix(at);
  return word;
}

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> words;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t blanks = std::min(rest.find_first_not_of(' '), rest.size());
    rest.remove_prefix(blanks);
    if (!rest.empty()) words.push_back(take_word(rest, text.size() - rest.size() + 1));
  }
  return words;
}

[[noreturn]] void refuse(const std::string& what) { throw Error{ErrorKind::invalid, what}; }

/// Whether one of these characters stands outside quotes.
bool has_plain(std::string_view raw, std::string_view characters) {
  bool quoted = false;
  for (std::size_t at = 0; at < raw.size(); ++at) {
    if (raw[at] == '"') quoted = !quoted;
    if (quoted && raw[at] == '\\')
      ++at;
    else if (!quoted && characters.find(raw[at]) != std::string_view::npos)
      return true;
  }
  return false;
}

/// A date is its first instant.
TimePoint parse_bound(std::string_view text, TimePoint now) {
  constexpr std::size_t date_size = 10;
  if (text.starts_with('-')) {
    if (now == TimePoint{}) refuse(fmt::format("\"{}\" hangs on when it is read; write a time", text));
    return now - std::min(parse_duration(text.substr(1)), now.time_since_epoch());
  }
  if (text.size() == date_size) return parse_time(fmt::format("{}T00:00:00Z", text));
  return parse_time(text);
}

/// One word, or parameter, must not silently win over another.
template <class T>
void set_once(T& field, T value, const T& unset, std::string_view name) {
  if (field != unset && field != value)
    refuse(fmt::format("{} is there twice; write all of it in one", name));
  field = std::move(value);
}

void set_created(Filter& filter, std::string_view range, TimePoint now) {
  const std::size_t dots = range.find("..");
  if (dots == std::string_view::npos || range.size() == 2) {
    refuse(fmt::format("created is \"{}\"; write a range such as 2026-11-20..2026-11-21, -2h.. or ..-7d",
                       range));
  }
  using Bound = std::optional<TimePoint>;
  if (dots > 0) set_once(filter.created_from, Bound{parse_bound(range.substr(0, dots), now)}, {}, "created");
  if (dots + 2 < range.size())
    set_once(filter.created_before, Bound{parse_bound(range.substr(dots + 2), now)}, {}, "created");
}

/// What the language has for others, and a store can't do.
void check_value(const std::string& name, std::string_view raw) {
  if (name == "state" || name == "text" || name.starts_with("created")) return;
  if (has_plain(raw, ",")) {
    refuse(fmt::format("{0} takes one value and not several; quote it if the comma is its own: {0}:\"a,b\"",
                       name));
  }
  const bool prefix = name == "kind" && raw.ends_with('*');
  if (has_plain(raw.substr(0, raw.size() - (prefix ? 1 : 0)), "*")) {
    refuse(name == "kind" ? "a * in a kind stands at its end, and nowhere else"
                          : fmt::format("{} takes no *; only a kind may end in one", name));
  }
}

void set_word(Filter& filter, const Word& word, const std::string& name, TimePoint now) {
  const std::string base = name.substr(0, name.find('.'));
  if (std::ranges::find(later, base) != later.end()) {
    refuse(fmt::format("no store can look for \"{}\" yet; there are {}, and words of id, payload and error",
                       name, either(names)));
  }
  const std::string_view value = std::string_view{word.text}.substr(name.size() + 1);
  check_value(name, word.raw.substr(name.size() + 1));
  if (name == "created") {
    set_created(filter, value, now);
  } else {
    set_filter(filter, name, value);
  }
}

std::string quoted(std::string_view value, std::string_view special) {
  if (value.find_first_of(special) == std::string_view::npos) return std::string{value};
  std::string out{"\""};
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

FilterError::FilterError(std::size_t column, const std::string& what)
    : Error(ErrorKind::invalid, fmt::format("column {}: {}", column, what)), column_(column) {}

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
  if (value.empty()) refuse(fmt::format("{}: has no value", name));
  if (name == "state") {
    set_once(filter.states, parse_states(value), States::all(), name);
  } else if (name == "queue") {
    set_once(filter.queue, std::string{value}, {}, name);
  } else if (name == "kind") {
    set_once(filter.kind, std::string{value}, {}, name);
  } else if (name == "id") {
    set_once(filter.id, std::string{value}, {}, name);
  } else if (name == "group") {
    set_once(filter.group, std::string{value}, {}, name);
  } else if (name == "text") {
    set_once(filter.text, std::string{value}, {}, name);
  } else if (name == "created_from") {
    set_once(filter.created_from, std::optional{parse_time(value)}, {}, name);
  } else if (name == "created_before") {
    set_once(filter.created_before, std::optional{parse_time(value)}, {}, name);
  } else {
    refuse(fmt::format("there is no field \"{}\"{}; there are {}", name, suggestion(name, names),
                       either(names)));
  }
}

Filter parse_filter(std::string_view text, TimePoint now) {
  Filter filter;
  std::string plain;
  std::set<std::string> seen;
  for (const Word& word : words_of(text)) {
    try {
      if (!word.quoted && word.text.size() > 1 && word.text.starts_with('-'))
        refuse(fmt::format("no store can leave out what matches \"{0}\"; quote it if it is text: \"{0}\"",
                           word.text));
      const std::size_t colon = word.quoted ? std::string::npos : word.text.find(':');
      const bool is_text = colon == std::string::npos || colon == 0;
      const std::string name = is_text ? "text" : word.text.substr(0, colon);
      if ((!is_text || plain.empty()) && !word.text.empty() && !seen.insert(name).second)
        refuse(fmt::format("{} is there twice; write all of it in one", name));
      if (is_text) {
        plain += (plain.empty() ? "" : " ") + word.text;
      } else {
        set_word(filter, word, name, now);
      }
    } catch (const FilterError&) {
      throw;
    } catch (const Error& error) {
      throw FilterError{word.column, error.what()};
    }
  }
  if (!plain.empty()) filter.text = plain;
  return filter;
}

std::string format_filter(const Filter& filter) {
  std::string out;
  const auto add = [&](std::string_view name, std::string_view value, std::string_view special) {
    if (!value.empty()) out += fmt::format("{}{}:{}", out.empty() ? "" : " ", name, quoted(value, special));
  };
  if (filter.states != States::all()) {
    std::string states;
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      if (filter.states.has(state))
        states += fmt::format("{}{}", states.empty() ? "" : ",", to_string(state));
    }
    add("state", states, "");
  }
  constexpr std::string_view special = " \",*";
  add("queue", filter.queue, special);
  // A * at its end is what it says.
  const bool prefix = filter.kind.ends_with('*') && filter.kind.find('*') == filter.kind.size() - 1;
  add("kind", filter.kind, prefix ? special.substr(0, 3) : special);
  add("id", filter.id, special);
  add("group", filter.group, special);
  if (filter.created_from) add("created_from", format_time(*filter.created_from), "");
  if (filter.created_before) add("created_before", format_time(*filter.created_before), "");
  add("text", filter.text, " \"");
  return out;
}

}  // namespace tidemill::wire
