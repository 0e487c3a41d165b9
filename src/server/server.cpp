#include "server/server.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tidemill/inspector.hpp>
#include <tidemill/periodic_file.hpp>
#include <tidemill/schedule.hpp>

#include "drivers/http/server.hpp"
#include "server/api.hpp"
#include "server/config_json.hpp"
#include "server/control.hpp"
#include "server/deliveries.hpp"
#include "server/meter.hpp"
#include "server/metered_store.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr auto patience = 10s;
constexpr std::string_view schedules_owner = "file";

bool has_role(const config::Config& config, std::string_view role) {
  return std::ranges::find(config.roles, role) != config.roles.end();
}

std::shared_ptr<const Access> access_of(const config::Config& config) {
  return std::make_shared<const Access>(config.tokens, config.open_routes);
}

std::chrono::milliseconds whole(Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration);
}

/// A running server can't change these: `next` keeps those that are in force. Returns the names of those that
/// differed.
std::vector<std::string_view> keep_until_restart(const config::Config& now, config::Config& next) {
  std::vector<std::string_view> kept;
  const auto keep = [&](auto setting, std::string_view name) {
    if (next.*setting == now.*setting) return;
    next.*setting = now.*setting;
    kept.push_back(name);
  };
  keep(&config::Config::store, "store");
  keep(&config::Config::listen, "listen");
  keep(&config::Config::roles, "roles");
  keep(&config::Config::limits, "limits");
  keep(&config::Config::log, "log");
  return kept;
}

http::ServerOptions http_options(const config::Config& config, const config::Place& place) {
  return {.host = place.host,
          .port = place.port,
          .body_max = config.limits.body_bytes,
          .headers_max = static_cast<std::uint32_t>(config.limits.header_bytes),
          .connections_max = config.limits.connections,
          .idle_timeout = whole(config.limits.idle_timeout),
          .headers_timeout = whole(config.limits.headers_timeout),
          .body_timeout = whole(config.limits.body_timeout),
          .refusal = Api::refusal};
}

}  // namespace

struct Server::Impl final : Control {
  Impl(Store& s, config::Config c, Read r, Log l, Log statements)
      : config(std::move(c)),
        read(std::move(r)),
        log(std::move(l)),
        store(s, meter, std::move(statements)),
        inspector(store) {}

  std::string configuration() const override;
  std::vector<std::string_view> reload() override;
  std::vector<http::Client::HostLoad> hosts() const override;

  void start_api();
  void check_routes(const config::Config& checked) const;
  std::shared_ptr<Deliveries> make_deliveries(const config::Config& from);
  void sync_schedules(const config::Config& from);
  void start_scheduler(const config::Config& from);
  void replace_deliveries(std::shared_ptr<Deliveries> next);
  void stop();

  std::mutex reloading;      ///< Held for all of a reload. Guards `scheduler`, `replaced`, `stopping`.
  mutable std::mutex mutex;  ///< Guards `config` and `deliveries`; nobody waits for anything with it.
  bool stopping = false;
  config::Config config;
  const Read read;
  const Log log;
  Meter meter;
  MeteredStore store;
  Inspector inspector;
  std::optional<config::Place> place;
  std::optional<Api> api;
  std::optional<http::Server> http;
  std::shared_ptr<Deliveries> deliveries;
  std::optional<Scheduler> scheduler;
  std::thread replaced;  ///< Stops the deliveries of the last configuration.
};

void Server::Impl::start_api() {
  place = config::parse_place(config.listen);
  config::check_reach(config);
  ApiOptions options{.tasks_max = config.limits.tasks_per_request,
                     .access = access_of(config),
                     .meter = &meter,
                     .control = this,
                     .log = log};
  if (place->loopback) options.hosts = {"localhost", "127.0.0.1", "[::1]", place->host};
  api.emplace(store, std::move(options));
  check_routes(config);
  try {
    http.emplace(http_options(config, *place), [this](http::Request&& request, const http::Answer& answer) {
      api->handle(std::move(request), answer);
    });
  } catch (const std::runtime_error& error) {
    throw Error{ErrorKind::unavailable, error.what()};
  }
  api->start();
}

void Server::Impl::check_routes(const config::Config& checked) const {
  check_open_routes(api->routes(), checked.open_routes);
  for (const std::string& open : checked.open_routes)
    log.warning("this route needs no token", {{"route", open}});
}

std::shared_ptr<Deliveries> Server::Impl::make_deliveries(const config::Config& from) {
  if (!has_role(from, "worker") || (from.deliveries.empty() && from.persistent_queues.empty()))
    return nullptr;
  return std::make_shared<Deliveries>(store, from, log);
}

void Server::Impl::sync_schedules(const config::Config& from) {
  if (!from.schedules || !has_role(from, "scheduler")) return;
  const std::size_t changed = inspector.sync_schedules(schedules_owner, *from.schedules);
  if (changed > 0) log.info("schedules of the file were changed", {{"changed", std::to_string(changed)}});
}

void Server::Impl::start_scheduler(const config::Config& from) {
  if (!has_role(from, "scheduler")) return;
  SchedulerOptions options{.owner = std::string{schedules_owner}, .log = log};
  if (from.schedule_file) {
    options.source = [path = from.schedule_file->path] { return read_periodic_file(path); };
    options.sync_interval = from.schedule_file->sync_interval;
  }
  scheduler.emplace(store, std::move(options));  // The one before stops.
  scheduler->start();
}

void Server::Impl::replace_deliveries(std::shared_ptr<Deliveries> next) {
  if (replaced.joinable()) replaced.join();
  {
    const std::lock_guard lock{mutex};
    deliveries.swap(next);
  }
  replaced = std::thread{[old = std::move(next)] {
    if (old) old->stop();
  }};
}

std::string Server::Impl::configuration() const {
  const std::lock_guard lock{mutex};
  return to_json(config);
}

std::vector<http::Client::HostLoad> Server::Impl::hosts() const {
  std::shared_ptr<Deliveries> now;
  {
    const std::lock_guard lock{mutex};
    now = deliveries;
  }
  return now ? now->hosts() : std::vector<http::Client::HostLoad>{};
}

std::vector<std::string_view> Server::Impl::reload() {
  const std::lock_guard one_at_a_time{reloading};
  if (stopping) throw Error{ErrorKind::closed, "the server is stopping"};
  config::Config next = read();
  if (api) check_routes(next);
  if (place && !place->loopback && next.tokens.empty())
    throw Error{ErrorKind::invalid, "tokens: the last one must not go while other machines reach the server"};
  std::vector<std::string_view> waiting = keep_until_restart(config, next);
  if (!waiting.empty()) {
    log.warning("these settings stay as they are until a restart",
                {{"settings", fmt::format("{}", fmt::join(waiting, ", "))}});
  }
  auto begun = make_deliveries(next);
  if (begun) begun->start();
  sync_schedules(next);
  if (api) api->set_access(access_of(next));
  replace_deliveries(std::move(begun));
  start_scheduler(next);
  {
    const std::lock_guard lock{mutex};
    config = std::move(next);
  }
  log.info("the configuration was read again");
  return waiting;
}

void Server::Impl::stop() {
  {
    const std::lock_guard after_a_reload{reloading};
    stopping = true;
  }
  if (api) api->drain();
  if (scheduler) scheduler->stop();
  if (http) http->stop(patience);
  if (deliveries) deliveries->stop();
  if (replaced.joinable()) replaced.join();
  if (api) api->close();
}

Server::Server(Store& store, config::Config config, Read read, Log log, Log statements)
    : impl_(std::make_unique<Impl>(store, std::move(config), std::move(read), std::move(log),
                                   std::move(statements))) {
  // The API answers before all has begun: a reload that is asked for meanwhile waits.
  const std::lock_guard until_begun{impl_->reloading};
  for (const Concern& each : impl_->store.concerns())
    impl_->log.warning(each.what, {{"advice", each.advice}});
  impl_->deliveries = impl_->make_deliveries(impl_->config);
  impl_->sync_schedules(impl_->config);
  if (has_role(impl_->config, "api")) impl_->start_api();
  if (impl_->deliveries) impl_->deliveries->start();
  impl_->start_scheduler(impl_->config);
}

Server::~Server() { stop(); }

std::string Server::url() const {
  if (!impl_->http) return {};
  const std::string& host = impl_->place->host;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", v6 ? "[" + host + "]" : host, impl_->http->port());
}

void Server::reload() { (void)impl_->reload(); }
void Server::stop() { impl_->stop(); }

}  // namespace tidemill::server
