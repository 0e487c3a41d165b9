#include "deliver/template.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

#include "deliver/text.hpp"
#include "wire/raw_json.hpp"
#include "wire/values.hpp"

namespace tidemill::deliver {

namespace {

const std::array<std::string, 7> names = {"kind",    "id",           "queue",       "attempt",
                                          "payload", "payload.NAME", "headers.NAME"};

[[noreturn]] void refuse(std::string message) { throw Error{ErrorKind::invalid, std::move(message)}; }

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

/// Whether a text that begins outside (or inside) of quotes ends inside.
bool quoted_after(std::string_view text, bool quoted) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    }
  }
  return quoted;
}

std::string json_string(std::string_view text) {
  std::string out;
  json::Writer{out}.write(text);
  return out;
}

/// A JSON string's characters; the text of any other value.
std::string text_of(std::string_view raw) {
  if (!raw.starts_with('"')) return std::string{raw};
  std::string out;
  json::with_document(
      raw, [](json::Value root, void* to) { root.read(*static_cast<std::string*>(to)); }, &out);
  return out;
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            std::string_view{"-._~"}.find(c) != std::string_view::npos;
    if (unreserved) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string_view element(std::string_view array, std::string_view name) {
  std::size_t index = 0;
  const char* const end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data(), end, index);
  if (error != std::errc{} || at != end) return {};
  const std::vector<std::string_view> elements = wire::raw_elements(array);
  return index < elements.size() ? elements[index] : std::string_view{};
}

}  // namespace

std::string_view TaskValues::payload_at(const std::vector<std::string>& path) const {
  if (!is_json_) is_json_ = is_json(task.payload);
  if (!*is_json_) refuse("the payload is not JSON, so it has no members");
  std::string_view at = task.payload;
  at.remove_prefix(std::min(at.find_first_not_of(" \t\r\n"), at.size()));
  std::string where = "payload";
  for (const std::string& name : path) {
    std::string_view next;
    if (at.starts_with('{')) next = wire::raw_member(at, name);
    if (at.starts_with('[')) next = element(at, name);
    if (next.empty()) refuse(fmt::format("{} has no \"{}\"", where, name));
    at = next;
    where += "." + name;
  }
  return at;
}

Template::Template(std::string_view text, Use use) : use_(use) {
  bool quoted = false;
  const auto add_text = [&](std::string_view part) {
    if (part.empty()) return;
    quoted = quoted_after(part, quoted);
    pieces_.push_back({.text = std::string{part}});
  };
  std::size_t done = 0;
  for (;;) {
    std::size_t open = text.find("{{", done);
    if (open == std::string_view::npos) break;
    // Of {{{payload}}} the first brace and the last are the text's own.
    while (text.substr(open).starts_with("{{{")) ++open;
    const std::size_t close = text.find("}}", open);
    if (close == std::string_view::npos)
      refuse(fmt::format("column {}: \"{{{{\" has no \"}}}}\" after it", open + 1));
    add_text(text.substr(done, open - done));
    Piece piece = placeholder(trimmed(text.substr(open + 2, close - open - 2)), open + 1);
    piece.quoted = quoted;
    pieces_.push_back(std::move(piece));
    done = close + 2;
  }
  add_text(text.substr(done));
}

Template::Piece Template::placeholder(std::string_view inner, std::size_t column) {
  Piece piece{.text = fmt::format("{{{{{}}}}}", inner)};
  constexpr std::array plain_ones = {std::pair{"kind", Source::kind}, std::pair{"id", Source::id},
                                     std::pair{"queue", Source::queue}, std::pair{"attempt", Source::attempt},
                                     std::pair{"payload", Source::payload}};
  for (const auto& [name, source] : plain_ones) {
    if (inner == name) {
      piece.source = source;
      return piece;
    }
  }
  const std::size_t dot = inner.find('.');
  const std::string_view first = inner.substr(0, dot);
  if (dot != std::string_view::npos && (first == "payload" || first == "headers")) {
    const std::string_view rest = inner.substr(dot + 1);
    if (rest.empty() || (first == "payload" && (rest.ends_with('.') || rest.starts_with('.') ||
                                                rest.find("..") != std::string_view::npos)))
      refuse(fmt::format("column {}: in {} a name is missing beside a dot", column, piece.text));
    if (first == "headers") {
      piece.source = Source::header;
      piece.header = rest;
      return piece;
    }
    piece.source = Source::member;
    for (std::size_t begin = 0; begin <= rest.size();) {
      const std::size_t end = std::min(rest.find('.', begin), rest.size());
      piece.path.emplace_back(rest.substr(begin, end - begin));
      begin = end + 1;
    }
    return piece;
  }
  refuse(fmt::format("column {}: there is no placeholder {}; write {}, each between {{{{ and }}}}{}", column,
                     piece.text, wire::either(names), wire::suggestion(inner, names)));
}

std::string_view Template::beginning() const noexcept {
  if (pieces_.empty() || pieces_.front().source != Source::text) return {};
  return pieces_.front().text;
}

bool Template::fixed() const noexcept {
  return std::all_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.source == Source::text; });
}

std::string Template::render(const TaskValues& values) const {
  std::string out;
  for (const Piece& piece : pieces_) {
    if (piece.source == Source::text) {
      out += piece.text;
      continue;
    }
    try {
      out += value(piece, values);
    } catch (const Error& error) {
      refuse(fmt::format("{} can't be filled in: {}", piece.text, error.what()));
    }
  }
  return out;
}

/// As it is written where the template is used.
std::string Template::value(const Piece& piece, const TaskValues& values) const {
  if (use_ == Use::body) {
    if (!piece.quoted) return json(piece, values);
    const std::string string = json_string(plain(piece, values));
    return string.substr(1, string.size() - 2);
  }
  std::string text = plain(piece, values);
  if (use_ == Use::header) {
    if (text.find_first_of(std::string_view{"\r\n\0", 3}) != std::string::npos)
      refuse("it has a line break or a zero byte, which no header may have");
    return text;
  }
  if (&piece == &pieces_.front()) return text;
  if (text == "." || text == "..")
    refuse(fmt::format("as a part of a URL, \"{}\" would lead elsewhere", text));
  return percent_encoded(text);
}

std::string Template::plain(const Piece& piece, const TaskValues& values) {
  switch (piece.source) {
    case Source::text:
      return piece.text;
    case Source::kind:
      return values.task.kind;
    case Source::id:
      return values.task.ref.id;
    case Source::queue:
      return values.task.ref.queue;
    case Source::attempt:
      return fmt::format("{}", values.attempt);
    case Source::payload:
      return values.task.payload;
    case Source::member:
      return text_of(values.payload_at(piece.path));
    case Source::header:
      break;
  }
  const auto found = values.task.headers.find(piece.header);
  if (found == values.task.headers.end()) refuse(fmt::format("the task has no header \"{}\"", piece.header));
  return found->second;
}

std::string Template::json(const Piece& piece, const TaskValues& values) {
  switch (piece.source) {
    case Source::attempt:
    case Source::payload:
      return plain(piece, values);
    case Source::member:
      return std::string{values.payload_at(piece.path)};
    default:
      return json_string(plain(piece, values));
  }
}

}  // namespace tidemill::deliver
