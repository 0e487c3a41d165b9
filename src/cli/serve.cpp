#include <algorithm>
#include <cstdlib>
#include <optional>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/log_sinks.hpp>

#include "cli/app.hpp"
#include "cli/file_limit.hpp"
#include "cli/options.hpp"
#include "config/config.hpp"
#include "engine/worker_signals.hpp"
#include "server/server.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill serve                                # 127.0.0.1:8470, on sqlite:tidemill.db in the working directory
  tidemill serve --store sqlite:/var/lib/app/jobs.db --listen 127.0.0.1:9000
  curl -d '{"kind":"greet","payload":{"to":"ada"}}' -H 'Content-Type: application/json' localhost:8470/api/v1/tasks

It answers over HTTP until SIGINT or SIGTERM, for programs of this machine. /api/v1/openapi.json lists what it can do.
Workers run beside it: `tidemill work --store URL --on 'KIND=COMMAND'`.)";

struct Arguments {
  StoreOption store = {};
  std::string config_file = {};
  std::string listen = {};
  std::vector<std::string> roles = {};
};

config::Config configuration(const Arguments& arguments) {
  config::Config config =
      arguments.config_file.empty() ? config::Config{} : config::load(arguments.config_file);
  if (!arguments.listen.empty()) config.listen = arguments.listen;
  if (!arguments.roles.empty()) config.roles = arguments.roles;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets it.
  if (const char* url = std::getenv("TIDEMILL_STORE"); url != nullptr) config.store = url;
  if (!arguments.store.url.empty()) config.store = arguments.store.url;
  return config;
}

/// What is said goes where the configuration wants it.
class Logs {
 public:
  explicit Logs(const config::Logging& logging) {
    if (logging.file) file_.emplace(*logging.file);
    if (logging.statements_file) statements_file_.emplace(*logging.statements_file);
    const LogSink sink = file_ ? file_->sink() : stderr_sink(logging.format);
    log = Log{sink, logging.level};
    if (statements_file_) {
      statements = Log{statements_file_->sink(), Level::debug};
    } else if (logging.statements) {
      statements = Log{sink, Level::debug};
    }
    if (!logging.source) return;
    log = log.with_source();
    statements = statements.with_source();
  }

  void reopen() {
    if (file_) file_->reopen();
    if (statements_file_) statements_file_->reopen();
  }

  Log log = Log::silent();
  Log statements = Log::silent();

 private:
  std::optional<LogFile> file_;
  std::optional<LogFile> statements_file_;
};

config::Config read_again(const Arguments& arguments) {
  if (arguments.config_file.empty())
    throw Error{ErrorKind::invalid,
                "there is no configuration file to read again: serve was started without --config"};
  return configuration(arguments);
}

void reload(server::Server& server, const Log& log) {
  try {
    server.reload();
  } catch (const Error& error) {
    log.error("the configuration was not taken over; the old one stays", {{"why", error.what()}});
  }
}

int serve(const Arguments& arguments, const Io& io) {
  raise_file_limit();
  const config::Config config = configuration(arguments);
  refuse_server(config.store, "serve");
  const auto store = open_store({config.store}, Access::create);
  Logs logs{config.log};
  engine::ProcessSignals signals{engine::ProcessSignals::Hangup::caught};
  server::Server server{*store, config, [&arguments] { return read_again(arguments); }, logs.log,
                        logs.statements};
  const std::string url = server.url();
  io.out << (url.empty() ? "running without an API\n" : fmt::format("listening on {}\n", url)) << std::flush;
  while (signals.wait() == 0) {
    if (!signals.take_hangup()) continue;
    logs.reopen();
    reload(server, logs.log);
  }
  logs.log.info("stopping");
  server.stop();
  return ok;
}

std::vector<std::string> read_roles(const std::string& text) {
  static const std::vector<std::string> all = {"api", "worker", "scheduler"};
  std::vector<std::string> roles;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string role{rest.substr(0, rest.find(','))};
    rest.remove_prefix(std::min(role.size() + 1, rest.size()));
    if (std::ranges::find(all, role) == all.end()) wire::refuse_name("role", role, all);
    roles.push_back(role);
  }
  return roles;
}

}  // namespace

void add_serve(Commands& commands) {
  CLI::App& command = commands.add("serve", "Take tasks in and answer for them over HTTP", help_text);
  const auto arguments = std::make_shared<Arguments>();
  add_store(command, arguments->store);
  add_string(command, "--config", "FILE", arguments->config_file,
             "The configuration, in YAML; options here win over what it says");
  add_string(command, "--listen", "HOST:PORT", arguments->listen,
             "Where to listen (127.0.0.1:8470); port 0: any that is free");
  add_text(command, "--roles", "ROLE,…", "What it does (api,worker,scheduler)",
           [arguments](const std::string& text) { arguments->roles = read_roles(text); });
  commands.runs(command, [arguments](const Io& io) { return serve(*arguments, io); });
}

}  // namespace tidemill::cli
