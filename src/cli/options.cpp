#include "cli/options.hpp"

#include <cstdlib>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/app.hpp"
#include "stores/server/server_store.hpp"

namespace tidemill::cli {

namespace {

void take_naming(const std::string& name, const std::string& text,
                 const std::function<void(const std::string&)>& take) {
  try {
    take(text);
  } catch (const Error& error) {
    throw Error{error.kind(), fmt::format("{}: {}", name, error.what())};
  }
}

}  // namespace

void add_store(CLI::App& command, StoreOption& store) {
  add_string(
      command, "--store", "URL", store.url,
      "The store, such as sqlite:jobs.db, postgres://user@localhost/app, mysql://user@localhost/app or "
      "redis://localhost:6379/0, or a server, such as http://127.0.0.1:8470; or set TIDEMILL_STORE");
}

std::string url_of(const StoreOption& store) {
  if (!store.url.empty()) return store.url;
  const char* url = std::getenv("TIDEMILL_STORE");  // NOLINT(concurrency-mt-unsafe): nothing here sets it.
  if (url != nullptr && *url != '\0') return url;
  throw Usage{"no store is named; write for instance --store sqlite:jobs.db, or set TIDEMILL_STORE to that"};
}

void refuse_server(std::string_view url, std::string_view command) {
  if (!is_server_url(url)) return;
  throw Usage{
      fmt::format("{} works on a store itself and not over a server; write for instance --store "
                  "sqlite:jobs.db",
                  command)};
}

void refuse_memory(std::string_view url) {
  if (!url.starts_with("memory:")) return;
  throw Usage{"a store in memory ends with this command; write for instance --store sqlite:jobs.db"};
}

std::unique_ptr<Store> open_store(const StoreOption& store, Access access) {
  const std::string url = url_of(store);
  refuse_memory(url);
  if (is_server_url(url)) return open_server(url);
  return open(url, {.migrate = access == Access::create});
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "For programs: one JSON object a line");
}

CLI::Option& add_text(CLI::App& command, const std::string& name, const std::string& type,
                      const std::string& what, std::function<void(const std::string&)> take) {
  const auto read = [name, take = std::move(take)](const std::string& text) {
    take_naming(name, text, take);
  };
  return *command.add_option_function<std::string>(name, read, what)->type_name(type);
}

CLI::Option& add_texts(CLI::App& command, const std::string& name, const std::string& type,
                       const std::string& what, std::function<void(const std::string&)> take) {
  const auto read = [name, take = std::move(take)](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) take_naming(name, text, take);
  };
  return *command.add_option_function<std::vector<std::string>>(name, read, what)
              ->type_name(type)
              ->allow_extra_args(false);
}

}  // namespace tidemill::cli
