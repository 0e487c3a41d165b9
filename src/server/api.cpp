#include "server/api.hpp"

#include <atomic>
#include <mutex>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/version.hpp>

#include "core/uuid.hpp"
#include "server/accept.hpp"
#include "server/events.hpp"
#include "server/export.hpp"
#include "server/fields.hpp"
#include "server/intake.hpp"
#include "server/lock_routes.hpp"
#include "server/metrics.hpp"
#include "server/notices.hpp"
#include "server/operations.hpp"
#include "server/rate_limits.hpp"
#include "server/reference.hpp"
#include "server/remote.hpp"
#include "server/service.hpp"
#include "server/stored_tokens.hpp"
#include "server/waits.hpp"

namespace tidemill::server {

namespace {

/// Longer ones are replaced by one of ours.
constexpr std::size_t request_id_max = 128;

}  // namespace

struct Api::Impl {
  Impl(Store& store, ApiOptions o);

  void add_routes();
  void begin(http::Request&& request, const http::Answer& answer);
  http::Answer tagged(const http::Request& request, const http::Answer& answer) const;
  void later(std::function<http::Response()> work, const http::Answer& answer);
  std::shared_ptr<const Access> access_now() {
    const std::lock_guard lock{mutex};
    return access;
  }
  Later in_pool() {
    return [this](std::function<http::Response()> work, const http::Answer& answer) {
      later(std::move(work), answer);
    };
  }
  /// What `work` answers, or the problem that it throws.
  template <class Work>
  http::Response guarded(const Work& work) const noexcept;

  const ApiOptions options;
  std::mutex mutex;
  std::shared_ptr<const Access> access;  // Guarded by mutex.
  RateLimits rates;
  Client client;
  Inspector inspector;
  Service service;
  StoredTokens tokens;
  Routes routes;
  std::string description;
  std::atomic<std::size_t> waiting{0};
  std::atomic<bool> closed{false};
  boost::asio::thread_pool pool;
  Metrics metrics;
  Intake intake;
  Exports exports;
  RemoteRoutes remote;
  LockRoutes locks;
  Notices notices;
  Waits waits;
  Operations operations;
  Events events;
};

Api::Impl::Impl(Store& store, ApiOptions o)
    : options(std::move(o)),
      access(options.access
                 ? options.access
                 : std::make_shared<const Access>(std::vector<config::Token>{}, std::vector<std::string>{})),
      client(store, {.log = options.log}),
      inspector(store),
      service{store, client, inspector, options.log},
      tokens(store, options.log),
      pool(options.threads),
      metrics(service, options.meter),
      intake(service, options.tasks_max, in_pool()),
      exports(service, in_pool()),
      remote(service, in_pool()),
      locks(service),
      notices(service),
      waits(service),
      operations(service),
      events(service, operations) {
  tokens.follow(access->has_tokens());
  add_routes();
  description = openapi(routes, version());
}

void Api::Impl::add_routes() {
  intake.add_routes(routes);  // First, as it is asked for most.
  remote.add_routes(routes);
  exports.add_routes(routes);  // Before /tasks/{id}.
  add_task_routes(routes, service);
  waits.add_routes(routes);
  add_act_routes(routes, service, waits, in_pool());
  add_edit_routes(routes, service);
  operations.add_routes(routes);
  locks.add_routes(routes);
  add_queue_routes(routes, service);
  add_schedule_routes(routes, service);
  add_worker_routes(routes, service);
  add_overview_route(routes, service, notices);
  add_stat_routes(routes, service, notices);
  notices.add_routes(routes);
  add_port_routes(routes, service);
  add_store_routes(routes, service);
  if (options.control != nullptr) add_control_routes(routes, *options.control);
  add_token_routes(routes, service, tokens, [this] { return access_now(); });
  events.add_routes(routes);
  metrics.add_routes(routes);
  add_reference_route(routes);
  routes.add({.method = "GET",
              .pattern = "/healthz",
              .summary = "Whether the process lives",
              .begin = [](Ask&&, const http::Answer& answer) { answer({200, "text/plain", {}, "ok\n"}); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/openapi.json",
              .summary = "This description",
              .handle = [this](const Ask&) { return json_answer(200, description); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/problems/{code}",
              .summary = "What a problem's code means",
              .handle = [](const Ask& ask) {
                const std::string_view title = explain(ask.path[0]);
                if (title.empty()) throw Problem{404, "not_found", "there is no such code"};
                return json_answer(200, wire::object([&](json::Writer& writer) {
                                     writer.member("code", ask.path[0]);
                                     writer.member("title", title);
                                     wire::member_text(writer, "hint", hint_for(ask.path[0]));
                                   }));
              }});
}

template <class Work>
http::Response Api::Impl::guarded(const Work& work) const noexcept {
  try {
    return work();
  } catch (const Problem& problem) {
    return to_response(problem);
  } catch (const wire::BadValue& bad) {
    return to_response(to_problem(bad));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::corrupt) options.log.error("a request failed", {{"why", error.what()}});
    return to_response(to_problem(error));
  } catch (const std::exception& error) {
    options.log.error("a request failed", {{"why", error.what()}});
    return to_response({500, "internal", "the log says why"});
  }
}

void Api::Impl::later(std::function<http::Response()> work, const http::Answer& answer) {
  if (waiting.fetch_add(1) >= options.waiting_max) {
    --waiting;
    answer(to_response({503, "store_unavailable", "too many requests wait already"}));
    return;
  }
  boost::asio::post(pool, [this, work = std::move(work), answer] {
    http::Response response = guarded(work);
    --waiting;
    answer(std::move(response));
  });
}

void Api::Impl::begin(http::Request&& request, const http::Answer& answer) {
  const auto shared = std::make_shared<const http::Request>(std::move(request));
  const auto rules = access_now();
  refuse_other_sites(*shared, rules->has_tokens() ? std::span<const std::string>{} : options.hosts);
  const Match match = routes.find(*shared);
  Caller caller = rules->admit(*shared, name_of(*match.route), match.route->roles, tokens);
  if (match.route->all_queues) caller.check_all_queues();
  if (caller.requests_per_minute > 0)
    rates.take(caller.name, caller.requests_per_minute, std::chrono::steady_clock::now());
  Ask ask = Routes::ask(match, shared, std::move(caller));
  if (match.route->begin) {
    match.route->begin(std::move(ask), answer);
  } else {
    // A route that takes no fields has refused them already.
    later(
        [route = match.route, ask = std::move(ask)] {
          const Fields fields{ask.parameter("fields")};
          return fields.narrow(route->handle(ask));
        },
        answer);
  }
}

/// An answer that names its request, and is logged at level debug.
http::Answer Api::Impl::tagged(const http::Request& request, const http::Answer& answer) const {
  std::string id{request.header("x-request-id")};
  if (id.empty() || id.size() > request_id_max) id = fmt::format("{:016x}", random_bits());
  const bool logged = options.log.enabled(Level::debug);
  // Of what only looks: whoever has had something done must hear of it, in whatever form.
  const bool looks = request.method == "GET" || request.method == "HEAD";
  std::string accept{looks && request.path.starts_with(prefix) ? request.header("accept") : ""};
  std::string what = logged ? fmt::format("{} {}", request.method, request.path) : std::string{};
  const auto begin = std::chrono::steady_clock::now();
  return http::Answer{
      [this, answer, begin, id = std::move(id), what = std::move(what),
       accept = std::move(accept)](http::Response&& response) {
        if (response.status == 200 && !accepts(accept, response.content_type)) {
          if (response.stream) response.stream->end();
          response =
              to_response({406, "not_acceptable",
                           fmt::format("the answer is {}, and not {}", response.content_type, accept)});
        }
        if (!what.empty()) {
          const auto took = std::chrono::steady_clock::now() - begin;
          options.log.debug("request",
                            {{"request", what},
                             {"status", std::to_string(response.status)},
                             {"us", std::to_string(std::chrono::duration_cast<Duration>(took).count())},
                             {"id", id}});
        }
        if (response.content_type == problem_type) name_request(response.body, id);
        if (response.status != 0) response.headers.emplace_back("X-Request-Id", id);
        answer(std::move(response));
      },
      [answer](std::function<void()> gone) { answer.watch(std::move(gone)); }};
}

// ---- The API

Api::Api(Store& store, ApiOptions options) : impl_(std::make_unique<Impl>(store, std::move(options))) {}

Api::~Api() { close(); }

void Api::handle(http::Request&& request, const http::Answer& answer) {
  const http::Answer tagged = impl_->tagged(request, answer);
  bool begun = false;
  const http::Response refusal = impl_->guarded([&] {
    if (impl_->closed) throw Problem{503, "shutting_down", "the server is stopping"};
    impl_->begin(std::move(request), tagged);
    begun = true;
    return http::Response{};
  });
  if (!begun) tagged(refusal);
}

void Api::start() { impl_->operations.start(); }

void Api::drain() {
  impl_->remote.close();
  impl_->waits.close();
  impl_->events.close();
  impl_->exports.close();
}

void Api::close() {
  impl_->closed = true;
  drain();
  impl_->intake.close();
  impl_->pool.join();
  impl_->operations.close();
  impl_->tokens.close();
}

void Api::set_access(std::shared_ptr<const Access> access) {
  impl_->tokens.follow(access->has_tokens());
  const std::lock_guard lock{impl_->mutex};
  impl_->access = std::move(access);
}

const Routes& Api::routes() const noexcept { return impl_->routes; }

http::Response Api::refusal(int status, std::string_view why) { return to_response(to_problem(status, why)); }

}  // namespace tidemill::server
