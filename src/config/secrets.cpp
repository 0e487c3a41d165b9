// Tokens, and where secrets come from.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "config/sections.hpp"
#include "core/digest.hpp"

namespace tidemill::config {

namespace {

constexpr std::size_t secret_least = 16;

void read_role(Token& token, const Node& node) {
  const std::string word = node.text();
  node.checked([&] { token.role = wire::parse_name<Role>("role", word, all_roles); });
}

void set_secret(Token& token, const Node& node, const Secret& secret) {
  if (!token.secret_sha256.empty()) node.wrong("this token has a secret already");
  if (secret.text.size() < secret_least) {
    node.wrong(
        fmt::format("the secret has {} characters; {} are the least", secret.text.size(), secret_least));
  }
  token.secret_sha256 = sha256_hex(secret.text);
  token.secret_variable = secret.variable;
}

void set_digest(Token& token, const Node& node) {
  if (!token.secret_sha256.empty()) node.wrong("this token has a secret already");
  token.secret_sha256 = node.text();
  const bool hex = token.secret_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (token.secret_sha256.size() != 64 || !hex)
    node.wrong("must be 64 hexadecimal digits in lower case, as `printf %s SECRET | sha256sum` prints");
}

Secret environment(const Node& node) {
  const std::string name = node.text();
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets it.
  const char* const value = std::getenv(name.c_str());
  if (value == nullptr) node.wrong(fmt::format("the environment has no variable {}", name));
  return {value == nullptr ? "" : value, name};
}

std::string first_line(const std::string& text) { return text.substr(0, text.find_first_of("\r\n")); }

using Each = Setting<Token>;
constexpr std::array token_settings = {
    Each{"name", [](Token& t, const Node& n) { t.name = n.text(); }},
    Each{"role", read_role},
    Each{"secret_sha256", set_digest},
    Each{"secret", [](Token& t, const Node& n) { set_secret(t, n, read_secret(n)); }},
    Each{"secret_env", [](Token& t, const Node& n) { set_secret(t, n, environment(n)); }},
    Each{"secret_file",
         [](Token& t, const Node& n) { set_secret(t, n, {first_line(read_file_beside(n, n.text()))}); }},
    Each{"requests_per_minute",
         [](Token& t, const Node& n) { t.requests_per_minute = n.integer(1, requests_most); }},
    Each{"queues", [](Token& t, const Node& n) { t.queues = n.texts(); }},
};

}  // namespace

std::string_view to_string(Role role) noexcept {
  static constexpr std::array<std::string_view, 5> names = {"viewer", "operator", "admin", "producer",
                                                            "worker"};
  return names[static_cast<std::size_t>(role)];
}

std::filesystem::path beside(const Node& node, const std::string& path) {
  return std::filesystem::path{node.file()}.parent_path() / path;
}

std::string read_file_beside(const Node& node, const std::string& path) {
  const std::filesystem::path place = beside(node, path);
  auto text = yaml::read_file(place);
  if (text) return std::move(*text);
  node.wrong(fmt::format("{} can't be read", place.string()));
  return {};
}

Secret read_secret(const Node& node) {
  if (node.is_scalar()) return {node.text()};
  using Source = Setting<Secret>;
  static constexpr std::array sources = {
      Source{"env", [](Secret& s, const Node& n) { s = environment(n); }},
      Source{"file", [](Secret& s, const Node& n) { s = {first_line(read_file_beside(n, n.text()))}; }},
  };
  Secret secret;
  read_settings<Secret>(node, secret, sources);
  return secret;
}

void read_tokens(Config& config, const Node& node) {
  std::set<std::string> names;
  for (const Node& each : node.elements()) {
    Token token;
    read_settings<Token>(each, token, token_settings);
    const bool has_role =
        std::ranges::any_of(each.members(), [](const auto& m) { return m.first == "role"; });
    if (token.name.empty())
      each.wrong("this token has no name");
    else if (!names.insert(token.name).second)
      each.wrong(fmt::format("there is another token \"{}\"", token.name));
    if (token.secret_sha256.empty())
      each.wrong("this token has no secret; give secret_sha256, secret_env, secret_file or secret");
    const auto same = std::ranges::find(config.tokens, token.secret_sha256, &Token::secret_sha256);
    if (!token.secret_sha256.empty() && same != config.tokens.end())
      each.wrong(fmt::format("it has the secret of token \"{}\"; each needs one of its own", same->name));
    if (!has_role)
      each.wrong("this token has no role; there are viewer, operator, admin, producer and worker");
    config.tokens.push_back(std::move(token));
  }
}

}  // namespace tidemill::config
