#include "drivers/redis/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis {

namespace {

constexpr std::uint16_t redis_port = 6379;
constexpr std::uint16_t sentinel_port = 26379;
constexpr int databases_max = 1 << 20;
constexpr int replicas_max = 1000;

constexpr std::array<std::string_view, 11> names = {
    "database", "wait",       "timeout",       "connect_timeout",  "tls", "tls_ca", "tls_cert",
    "tls_key",  "tls_verify", "sentinel_user", "sentinel_password"};

enum class Form : std::uint8_t { tcp, unix_socket, sentinel, cluster };

struct Scheme {
  std::string_view name;
  Form form;
  bool tls;
};

constexpr std::array<Scheme, 5> schemes = {{{"redis", Form::tcp, false},
                                            {"rediss", Form::tcp, true},
                                            {"redis+unix", Form::unix_socket, false},
                                            {"redis+sentinel", Form::sentinel, false},
                                            {"redis+cluster", Form::cluster, false}}};

[[noreturn]] void wrong(std::string_view what) { throw Failure{fmt::format("Redis URL: {}", what)}; }

/// How many letters to add, drop or change to make one word of the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({changed, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
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
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2)
      wrong(fmt::format("in the {}, a % is not followed by two hexadecimal digits; a % itself is %25", part));
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<int> number_of(std::string_view text, int max) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0 || value > max) return {};
  return value;
}

Address address_of(std::string_view text, std::uint16_t default_port) {
  if (text.empty()) wrong("a host is missing; write HOST or HOST:PORT, as in localhost:6379");
  std::string_view host = text, port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos)
      wrong("an address that begins with [ must end with ], as in [::1]:6379");
    host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    if (!text.empty() && !text.starts_with(':'))
      wrong("after the ] of an address comes nothing, or : and a port");
    has_port = !text.empty();
    port = text.substr(has_port ? 1 : 0);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
    if (port.find(':') != std::string_view::npos)
      wrong("an IPv6 address stands in brackets, as in [::1]:6379; user and password end with an @");
  }
  if (host.empty()) wrong("the host before a port is missing; write HOST:PORT, as in localhost:6379");
  if (!has_port) return {.host = std::string{host}, .port = default_port};
  // What stands there may be a password whose @ was forgotten, so it is not shown.
  const auto number = number_of(port, 65535);
  if (!number || *number == 0)
    wrong(fmt::format("the port of the host \"{}\" must be a number, 1 to 65535", host));
  return {.host = std::string{host}, .port = static_cast<std::uint16_t>(*number)};
}

std::vector<Address> addresses_of(std::string_view text, Form form) {
  std::vector<Address> all;
  while (true) {
    const std::size_t comma = text.find(',');
    all.push_back(address_of(text.substr(0, comma), form == Form::sentinel ? sentinel_port : redis_port));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (form == Form::tcp && all.size() > 1)
    wrong("redis:// takes one host; for several write redis+sentinel:// or redis+cluster://");
  return all;
}

int database_of(std::string_view text) {
  const auto number = number_of(text, databases_max);
  if (!number) wrong(fmt::format("the database \"{}\" must be a number, as in /0", text));
  return *number;
}

bool flag_of(std::string_view name, std::string_view value) {
  if (value != "true" && value != "false")
    wrong(fmt::format("{} must be true or false, not \"{}\"", name, value));
  return value == "true";
}

std::chrono::milliseconds duration_of(std::string_view name, std::string_view value) {
  const std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
  const auto number = number_of(value.substr(0, digits), 3'600'000);
  const std::string_view unit = value.substr(digits);
  if (!number || *number == 0 || (unit != "s" && unit != "ms") || (unit == "s" && *number > 3600))
    wrong(fmt::format("{} must be a time up to an hour, as 5s or 500ms, not \"{}\"", name, value));
  return unit == "s" ? std::chrono::milliseconds{*number * 1000} : std::chrono::milliseconds{*number};
}

[[noreturn]] void unknown_option(std::string_view name) {
  if (name == "password" || name == "user" || name == "username")
    wrong(fmt::format("there is no option {}; user and password stand before the host: USER:PASSWORD@HOST",
                      name));
  const auto nearest = std::min_element(
      names.begin(), names.end(), [&](auto a, auto b) { return distance(name, a) < distance(name, b); });
  const std::string hint = distance(name, *nearest) <= 2
                               ? fmt::format("; did you mean {}?", *nearest)
                               : fmt::format("; there are {}", fmt::join(names, ", "));
  wrong(fmt::format("there is no option \"{}\"{}", name, hint));
}

void set_option(Options& options, std::string_view name, const std::string& value) {
  if (value.empty()) wrong(fmt::format("the option {} has no value", name));
  if (name == "database") {
    options.database = database_of(value);
  } else if (name == "wait") {
    const auto number = number_of(value, replicas_max);
    if (!number) wrong(fmt::format("wait must be a number of replicas, not \"{}\"", value));
    options.replicas = *number;
  } else if (name == "timeout") {
    options.timeout = duration_of(name, value);
  } else if (name == "connect_timeout") {
    options.connect_timeout = duration_of(name, value);
  } else if (name == "tls") {
    options.tls = flag_of(name, value);
  } else if (name == "tls_verify") {
    options.tls_verify = flag_of(name, value);
  } else if (name == "tls_ca") {
    options.tls_ca = value;
  } else if (name == "tls_cert") {
    options.tls_certificate = value;
  } else if (name == "tls_key") {
    options.tls_key = value;
  } else if (name == "sentinel_user") {
    options.sentinel_user = value;
  } else {
    options.sentinel_password = value;
  }
}

void read_query(Options& options, std::string_view query) {
  std::vector<std::string_view> seen;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view entry = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::string_view name = entry.substr(0, entry.find('='));
    if (std::find(names.begin(), names.end(), name) == names.end()) unknown_option(name);
    if (name.size() == entry.size()) wrong(fmt::format("the option {} has no value; write {}=…", name, name));
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      wrong(fmt::format("{} stands there twice", name));
    seen.push_back(name);
    set_option(options, name, decoded(entry.substr(name.size() + 1), fmt::format("option {}", name)));
  }
}

void read_user(Options& options, std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    wrong("before the @ stands USER:PASSWORD, or :PASSWORD for the default user; there is no colon");
  options.user = decoded(text.substr(0, colon), "user");
  options.password = decoded(text.substr(colon + 1), "password");
  if (options.password.empty()) wrong("the password before the @ is empty");
}

/// What follows the hosts: /DATABASE, or /MASTER[/DATABASE].
void read_path(Options& options, std::string_view path, Form form) {
  if (form == Form::sentinel) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    options.master = decoded(path.substr(0, slash), "name of the master");
    if (options.master.empty())
      wrong(
          "the name of the master is missing: redis+sentinel://HOST:PORT,HOST:PORT/MASTER, as in /mymaster");
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  if (!path.empty()) options.database = database_of(path);
}

void check(const Options& options, const Scheme& scheme) {
  if (scheme.tls && !options.tls) wrong("rediss:// means TLS, so tls=false can't be; write redis:// instead");
  if (scheme.form == Form::unix_socket && options.tls) wrong("a unix socket has no TLS; leave tls away");
  if (scheme.form == Form::cluster && options.database != 0) wrong("a cluster has the database 0 only");
  const bool sentinel = !options.sentinel_user.empty() || !options.sentinel_password.empty();
  if (sentinel && scheme.form != Form::sentinel)
    wrong("sentinel_user and sentinel_password are for redis+sentinel:// only");
  if (!options.sentinel_user.empty() && options.sentinel_password.empty())
    wrong("sentinel_user needs sentinel_password");
  if (!options.tls_key.empty() && options.tls_certificate.empty()) wrong("tls_key needs tls_cert");
  const bool files = !options.tls_ca.empty() || !options.tls_certificate.empty() || !options.tls_verify;
  if (files && !options.tls)
    wrong("tls_ca, tls_cert, tls_key and tls_verify are for TLS: write rediss://, or tls=true");
}

const Scheme& scheme_of(std::string_view name) {
  const auto* const found =
      std::find_if(schemes.begin(), schemes.end(), [&](const Scheme& scheme) { return scheme.name == name; });
  if (found != schemes.end()) return *found;
  wrong("it begins with redis://, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://");
}

}  // namespace

Options parse_url(std::string_view url) {
  const std::size_t colon = url.find("://");
  const Scheme& scheme = scheme_of(url.substr(0, colon == std::string_view::npos ? 0 : colon));
  std::string_view rest = url.substr(colon + 3);
  const std::size_t path = std::min(rest.find_first_of("/?#"), rest.size());
  // What a password has cut in two must not be read as something else, and then be shown.
  if (rest.find('@', path) != std::string_view::npos)
    wrong("in user and password / is written %2F, ? %3F and # %23; after the host, @ is written %40");
  if (rest.find('#') != std::string_view::npos) wrong("there is a #; write %23");

  Options options{.tls = scheme.tls};
  switch (scheme.form) {
    case Form::sentinel:
      options.topology = Topology::sentinel;
      break;
    case Form::cluster:
      options.topology = Topology::cluster;
      break;
    default:
      break;
  }
  std::string_view hosts = rest.substr(0, path);
  if (const std::size_t at = hosts.rfind('@'); at != std::string_view::npos) {
    read_user(options, hosts.substr(0, at));
    hosts.remove_prefix(at + 1);
  }
  rest.remove_prefix(path);
  const std::size_t question = std::min(rest.find('?'), rest.size());
  const std::string_view place = rest.substr(0, question);
  if (scheme.form == Form::unix_socket) {
    if (!hosts.empty() || place.size() < 2)
      wrong("a unix socket is redis+unix:///PATH, with three slashes, as in redis+unix:///run/redis.sock");
    options.addresses = {{.host = decoded(place, "path"), .port = 0}};
  } else {
    options.addresses = addresses_of(hosts, scheme.form);
    read_path(options, place.substr(place.empty() ? 0 : 1), scheme.form);
  }
  if (question < rest.size()) read_query(options, rest.substr(question + 1));
  check(options, scheme);
  return options;
}

}  // namespace tidemill::redis
