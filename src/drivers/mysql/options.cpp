#include "drivers/mysql/options.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "drivers/mysql/failure.hpp"

namespace tidemill::mysql {

namespace {

constexpr std::size_t prefix_bytes_max = 30;    // Of the 64 that a table's name may have.
constexpr std::size_t database_bytes_max = 64;  // MySQL's limit is of letters; these are more.
constexpr int connect_timeout_seconds_max = 3600;
constexpr std::string_view right =
    "right is mysql://USER:PASSWORD@HOST:PORT/DATABASE, with %XX for signs that mean something";

[[noreturn]] void wrong(std::string_view what) {
  throw Failure{Outcome::undone, 0, {}, fmt::format("MySQL URL: {}", what)};
}

/// With %XX resolved. `part` is what the text is, for people, who are not shown the text itself.
std::string decoded(std::string_view text, std::string_view part) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2 || value == 0)
      wrong(fmt::format("{} has a % that no two hexadecimal digits follow; a % itself is %25", part));
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<int> number_of(std::string_view text, int max) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1 || value > max) return {};
  return value;
}

/// Cuts off what stands before the mark, or all of it, and the mark too.
std::string_view take_until(std::string_view& text, char mark) {
  const std::string_view part = text.substr(0, text.find(mark));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

void set_account(Options& options, std::string_view text) {
  options.user = decoded(take_until(text, ':'), "the user");
  options.password = decoded(text, "the password");
}

void set_address(Options& options, std::string_view text) {
  if (text.empty()) return;
  std::string_view host = text;
  std::string_view port;
  const std::size_t colon = text.find(':', text.starts_with('[') ? std::min(text.find(']'), text.size()) : 0);
  if (colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    const auto number = number_of(port, 65535);
    if (!number) wrong(fmt::format("what follows the host and \":\" is no port from 1 to 65535; {}", right));
    options.port = static_cast<std::uint16_t>(*number);
  }
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) wrong("an address that begins with [ must end with ], as in [::1]:3306");
    host = host.substr(1, host.size() - 2);
  }
  options.host = decoded(host, "the host");
  if (options.host.empty()) wrong(fmt::format("the host before the port is missing; {}", right));
}

void set_prefix(Options& options, const std::string& value) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!plain || value.empty() || value.size() > prefix_bytes_max) {
    wrong(fmt::format("prefix is \"{}\"; it has 1 to {} letters a to z, digits and _, as in tidemill_", value,
                      prefix_bytes_max));
  }
  options.prefix = value;
}

void set_tls(Options& options, std::string_view value) {
  if (value == "no") {
    options.tls = Tls::none;
  } else if (value == "require") {
    options.tls = Tls::require;
  } else if (value == "verify") {
    options.tls = Tls::verify;
  } else {
    wrong(fmt::format("tls is \"{}\"; it is no, require or verify", value));
  }
}

void set_connect_timeout(Options& options, std::string_view value) {
  const bool milliseconds = value.ends_with("ms");
  if (milliseconds || value.ends_with('s')) {
    const int unit = milliseconds ? 1 : 1000;
    const auto count =
        number_of(value.substr(0, value.size() - (milliseconds ? 2 : 1)), connect_timeout_seconds_max * 1000);
    if (count && *count <= connect_timeout_seconds_max * 1000 / unit) {
      options.connect_timeout = std::chrono::milliseconds{*count * unit};
      return;
    }
  }
  wrong(fmt::format("connect_timeout is \"{}\"; it is a time such as 5s or 500ms, up to {}s", value,
                    connect_timeout_seconds_max));
}

void set(Options& options, std::string_view name, std::string_view text) {
  const auto value = [&] { return decoded(text, name); };
  if (name == "prefix") return set_prefix(options, value());
  if (name == "tls") return set_tls(options, text);
  if (name == "connect_timeout") return set_connect_timeout(options, text);
  std::string* const place = name == "socket"     ? &options.socket
                             : name == "tls_ca"   ? &options.tls_ca
                             : name == "tls_cert" ? &options.tls_certificate
                             : name == "tls_key"  ? &options.tls_key
                                                  : nullptr;
  if (place == nullptr) {
    wrong(
        fmt::format("there is no option \"{}\"; there are prefix, socket, tls, tls_ca, tls_cert, tls_key "
                    "and connect_timeout",
                    name));
  }
  *place = value();
  if (place->empty()) wrong(fmt::format("{} is empty; it is the path of a file", name));
}

void check_tls(const Options& options) {
  if (options.tls == Tls::none &&
      !(options.tls_ca.empty() && options.tls_certificate.empty() && options.tls_key.empty()))
    wrong("tls_ca, tls_cert and tls_key mean nothing without tls=verify or tls=require");
  if (options.tls == Tls::require && !options.tls_ca.empty())
    wrong("tls_ca means nothing with tls=require, which takes any certificate; write tls=verify");
  if (options.tls_certificate.empty() != options.tls_key.empty())
    wrong("tls_cert and tls_key belong together: one is missing");
}

}  // namespace

Options parse_url(std::string_view url) {
  const std::size_t slashes = url.find("://");
  const std::string_view scheme = url.substr(0, slashes);
  if (slashes == std::string_view::npos || (scheme != "mysql" && scheme != "mariadb"))
    wrong(fmt::format("it begins with neither mysql:// nor mariadb://; {}", right));
  if (url.find('\0') != std::string_view::npos) wrong("it has a byte 0 in it");
  url.remove_prefix(slashes + 3);
  Options options;
  std::string_view place = take_until(url, '?');
  std::string_view server = take_until(place, '/');
  if (const std::size_t at = server.rfind('@'); at != std::string_view::npos) {
    set_account(options, server.substr(0, at));
    server.remove_prefix(at + 1);
  }
  // Else a part of a password could be shown as something else.
  if (place.find('@') != std::string_view::npos || url.find('@') != std::string_view::npos)
    wrong("an @ stands behind a / or ?: in user, password and values an @ is %40, a / is %2F, a ? is %3F");
  set_address(options, server);
  options.database = decoded(place, "the database");
  if (options.database.empty() || options.database.size() > database_bytes_max ||
      options.database.find('/') != std::string::npos)
    wrong(fmt::format("the database's name is missing, too long, or has a / in it; {}", right));
  while (!url.empty()) {
    std::string_view value = take_until(url, '&');
    const std::string_view name = take_until(value, '=');
    set(options, name, value);
  }
  check_tls(options);
  return options;
}

std::string shown(const Options& options) {
  const bool ipv6 = options.host.find(':') != std::string::npos;
  const std::string server = options.socket.empty() ? fmt::format("{}{}{}:{}", ipv6 ? "[" : "", options.host,
                                                                  ipv6 ? "]" : "", options.port)
                                                    : "";
  return fmt::format("mysql://{}{}{}/{}?prefix={}{}{}", options.user, options.user.empty() ? "" : "@", server,
                     options.database, options.prefix,
                     options.socket.empty() ? "" : "&socket=", options.socket);
}

}  // namespace tidemill::mysql
