#include "drivers/postgres/options.hpp"

#include <libpq-fe.h>

#include <charconv>
#include <memory>

#include <fmt/format.h>

#include "drivers/postgres/failure.hpp"
#include "drivers/postgres/text.hpp"

namespace tidemill::postgres {

namespace {

constexpr std::size_t name_bytes_max = 63;
constexpr std::string_view right =
    "right is postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME, with %XX for signs that mean "
    "something";

[[noreturn]] void wrong(std::string_view what) {
  throw Failure{Outcome::undone, {}, fmt::format("PostgreSQL URL: {}", what)};
}

std::string decoded(std::string_view text, std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    unsigned value = 0;
    const char* const begin = text.data() + std::min(i + 1, text.size());
    const char* const end = text.data() + std::min(i + 3, text.size());
    const auto [rest, error] = std::from_chars(begin, end, value, 16);
    if (error != std::errc{} || rest != begin + 2 || value == 0)
      wrong(fmt::format("{} has a % that no two hexadecimal digits follow; a % itself is %25", name));
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return out;
}

void set_schema(Options& options, std::string_view value) {
  options.schema = decoded(value, "schema");
  if (options.schema.empty() || options.schema.size() > name_bytes_max)
    wrong(fmt::format("schema has {} bytes; a name has 1 to {}", options.schema.size(), name_bytes_max));
}

void set_prepared(Options& options, std::string_view value) {
  if (value != "yes" && value != "no") wrong(fmt::format("prepared is \"{}\"; it is yes or no", value));
  options.prepared = value == "yes";
}

/// The URL without what is ours, for libpq, which takes no name that it doesn't know.
std::string take_ours(std::string_view url, Options& options) {
  const std::size_t question = url.find('?');
  std::string rest{url.substr(0, question)};
  if (question == std::string_view::npos) return rest;
  char separator = '?';
  std::string_view query = url.substr(question + 1);
  while (!query.empty()) {
    const std::string_view item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(item.size() + 1, query.size()));
    if (item.starts_with("schema=")) {
      set_schema(options, item.substr(7));
    } else if (item.starts_with("prepared=")) {
      set_prepared(options, item.substr(9));
    } else {
      rest += separator;
      rest += item;
      separator = '&';
    }
  }
  return rest;
}

/// libpq quotes what it can't read, and that may be part of a password. Names of parameters are none.
std::string without_quotes(std::string_view message) {
  if (message.find("query parameter") != std::string_view::npos) return trimmed(message);
  std::string out;
  bool inside = false;
  for (const char c : message) {
    if (c == '"') {
      inside = !inside;
      out += inside ? "\"…" : "\"";
    } else if (!inside) {
      out.push_back(c);
    }
  }
  return trimmed(out);
}

void check_ports(std::string_view ports) {
  while (true) {
    const std::string_view port = ports.substr(0, ports.find(','));
    unsigned value = 0;
    const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), value);
    const bool number = error == std::errc{} && rest == port.data() + port.size();
    if (!port.empty() && (!number || value == 0 || value > 65535))
      wrong(fmt::format("what follows the host and \":\" is no port from 1 to 65535; {}", right));
    if (port.size() == ports.size()) return;
    ports.remove_prefix(port.size() + 1);
  }
}

void set_connect_timeout(Options& options, std::string_view text) {
  int seconds = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || rest != text.data() + text.size() || seconds < 1 || seconds > 3600)
    wrong(fmt::format("connect_timeout is \"{}\"; it is a number of seconds, 1 to 3600", text));
  options.connect_timeout = std::chrono::seconds{seconds};
}

std::string_view value_of(const Options& options, std::string_view name) {
  for (const auto& [key, value] : options.parameters) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace

Options parse_url(std::string_view url) {
  if (!url.starts_with("postgres://") && !url.starts_with("postgresql://"))
    wrong(fmt::format("it begins with neither postgres:// nor postgresql://; {}", right));
  if (url.find('\0') != std::string_view::npos) wrong("it has a byte 0 in it");
  Options options;
  const std::string theirs = take_ours(url, options);
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed{
      PQconninfoParse(theirs.c_str(), &message), &PQconninfoFree};
  const std::unique_ptr<char, decltype(&PQfreemem)> owner{message, &PQfreemem};
  if (parsed == nullptr) {
    wrong(fmt::format("{}; {}", message != nullptr ? without_quotes(message) : "there is no memory", right));
  }
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    const std::string_view name = option->keyword;
    if (name == "port") check_ports(option->val);
    if (name == "connect_timeout") {
      set_connect_timeout(options, option->val);
    } else {
      options.parameters.emplace_back(name, option->val);
    }
  }
  return options;
}

std::string shown(const Options& options) {
  const std::string_view user = value_of(options, "user");
  const std::string_view host = value_of(options, "host");
  const std::string_view port = value_of(options, "port");
  const std::string_view database = value_of(options, "dbname");
  return fmt::format("postgres://{}{}{}{}{}/{}?schema={}", user, user.empty() ? "" : "@", host,
                     port.empty() ? "" : ":", port, database, options.schema);
}

}  // namespace tidemill::postgres
