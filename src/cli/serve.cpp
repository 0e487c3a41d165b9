#include <cstdlib>
#include <optional>
#include <ostream>
#include <stdexcept>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/log.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "drivers/http/server.hpp"
#include "engine/worker_signals.hpp"
#include "server/api.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill serve                                # 127.0.0.1:8470, on sqlite:tidemill.db in the working directory
  tidemill serve --store sqlite:/var/lib/app/jobs.db --listen 127.0.0.1:9000
  curl -d '{"kind":"greet","payload":{"to":"ada"}}' -H 'Content-Type: application/json' localhost:8470/api/v1/tasks

It answers over HTTP until SIGINT or SIGTERM, for programs of this machine. /api/v1/openapi.json lists what it can do.
Workers run beside it: `tidemill work --store URL --on 'KIND=COMMAND'`.)";

constexpr std::chrono::milliseconds patience{10'000};

struct Arguments {
  StoreOption store = {};
  std::string host = "127.0.0.1";
  std::uint16_t port = 8470;
};

void read_listen(const std::string& text, Arguments& arguments) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    throw Error{ErrorKind::invalid,
                fmt::format("\"{}\" is no HOST:PORT; write for instance 127.0.0.1:8470", text)};
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  // Whoever reaches the port may do anything, so only programs of this machine must reach it.
  if (host != "::1" && !host.starts_with("127.")) {
    throw Error{
        ErrorKind::invalid,
        fmt::format(
            "\"{}\" may be reached from other machines, and there is no authentication yet; listen on "
            "127.0.0.1, and put a proxy with authentication in front of it",
            host)};
  }
  arguments.port = static_cast<std::uint16_t>(wire::parse_integer(text.substr(colon + 1), 0, 65535));
  arguments.host = std::move(host);
}

int serve(const Arguments& arguments, const Io& io) {
  StoreOption named = arguments.store;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets it.
  if (named.url.empty() && std::getenv("TIDEMILL_STORE") == nullptr) named.url = "sqlite:tidemill.db";
  const auto store = open_store(named, Access::create);
  const Log log;
  server::Api api{*store, {.hosts = {"localhost", "127.0.0.1", "[::1]", arguments.host}, .log = log}};
  engine::ProcessSignals signals;
  std::optional<http::Server> server;
  try {
    server.emplace(
        http::ServerOptions{.host = arguments.host, .port = arguments.port, .refusal = server::Api::refusal},
        [&](http::Request&& request, const http::Answer& answer) {
          api.handle(std::move(request), answer);
        });
  } catch (const std::runtime_error& error) {
    throw Error{ErrorKind::unavailable, error.what()};
  }
  const std::string host =
      arguments.host.find(':') == std::string::npos ? arguments.host : "[" + arguments.host + "]";
  io.out << fmt::format("listening on http://{}:{}\n", host, server->port()) << std::flush;
  signals.wait();
  log.info("stopping");
  api.drain();
  server->stop(patience);
  api.close();
  return ok;
}

}  // namespace

void add_serve(Commands& commands) {
  CLI::App& command = commands.add("serve", "Take tasks in and answer for them over HTTP", help_text);
  const auto arguments = std::make_shared<Arguments>();
  add_store(command, arguments->store);
  add_text(command, "--listen", "HOST:PORT", "Where to listen (127.0.0.1:8470); port 0: any that is free",
           [arguments](const std::string& text) { read_listen(text, *arguments); });
  commands.runs(command, [arguments](const Io& io) { return serve(*arguments, io); });
}

}  // namespace tidemill::cli
