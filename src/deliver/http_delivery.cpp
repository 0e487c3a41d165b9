#include "deliver/http_delivery.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <tidemill/error.hpp>
#include <tidemill/version.hpp>

#include "deliver/answer.hpp"
#include "deliver/signature.hpp"
#include "deliver/template.hpp"
#include "deliver/text.hpp"
#include "drivers/http/address_guard.hpp"
#include "drivers/http/target.hpp"

namespace tidemill::deliver {

namespace {

using Steady = std::chrono::steady_clock;

[[noreturn]] void refuse(std::string message) { throw Error{ErrorKind::invalid, std::move(message)}; }

Template parse(std::string_view part, std::string_view text, Template::Use use) {
  try {
    return Template{text, use};
  } catch (const Error& error) {
    refuse(fmt::format("{}: {}", part, error.what()));
  }
}

http::Target checked_target(const std::string& url) {
  http::Target target;
  try {
    target = http::parse_target(url);
  } catch (const std::invalid_argument& error) {
    refuse(error.what());
  }
  if (target.credentials) {
    refuse(fmt::format("the URL of {} has a user or a password in it; put them into a header Authorization",
                       target.host));
  }
  return target;
}

/// As much of it as is known before there is a task.
void check_url(const Template& url) {
  const std::string_view beginning = url.beginning();
  if (beginning.empty() && !url.fixed()) return;  // Whatever the placeholder gives.
  const std::size_t scheme = beginning.find("://");
  const std::size_t host = scheme == std::string_view::npos ? scheme : scheme + 3;
  const bool has_host =
      host != std::string_view::npos && beginning.find_first_of("/?#", host) != std::string_view::npos;
  if (url.fixed() || has_host) {
    checked_target(std::string{beginning});
  } else if (const std::string name = http::lower_case(beginning.substr(0, host));
             name != "http://" && name != "https://") {
    refuse("it must begin with http://, https:// or a placeholder");
  }
}

void check_header(const std::string& name, std::string_view value, bool is_signed) {
  constexpr std::array ours = {"connection", "content-length", "expect", "transfer-encoding"};
  const std::string lower = http::lower_case(name);
  const std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
  if (lower.empty() || lower.find_first_not_of(allowed) != std::string::npos)
    refuse(fmt::format("headers: \"{}\" is no header's name; write it as in X-Name", printable(name, 64)));
  if (std::find(ours.begin(), ours.end(), lower) != ours.end() ||
      (is_signed && lower.starts_with("webhook-")))
    refuse(fmt::format("headers.{}: this one is set by Tidemill; leave it out", name));
  if (value.find_first_of(std::string_view{"\r\n\0", 3}) != std::string_view::npos)
    refuse(fmt::format("headers.{}: it has a line break or a zero byte, which no header may have", name));
}

std::chrono::milliseconds to_milliseconds(Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration);
}

/// A delivery, ready to make calls.
class Caller {
 public:
  explicit Caller(const HttpDelivery& delivery);

  /// Throws Error{invalid} when the task lacks what a template needs.
  http::Call call(const Context& context) const;

 private:
  http::Headers standard_headers(const Task& task, int attempt, const std::string& body) const;

  const HttpDelivery delivery_;
  const Template url_;
  const Template body_;
  std::vector<std::pair<std::string, Template>> headers_ = {};
  const Signer signer_;
};

Caller::Caller(const HttpDelivery& delivery)
    : delivery_(delivery),
      url_(parse("url", delivery.url, Template::Use::url)),
      body_(parse("body", delivery.body, Template::Use::body)),
      signer_([&] {
        try {
          return Signer{delivery.secrets};
        } catch (const Error& error) {
          refuse(fmt::format("secrets: {}", error.what()));
        }
      }()) {
  try {
    check_url(url_);
  } catch (const Error& error) {
    refuse(fmt::format("url: {}", error.what()));
  }
  if (delivery.method.empty() ||
      delivery.method.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != std::string::npos)
    refuse(fmt::format("method: \"{}\" is none; write it in capitals, as in POST",
                       printable(delivery.method, 64)));
  if (delivery.timeout <= Duration::zero()) refuse("timeout: it must be longer than zero, as in 30s");
  for (const auto& [name, value] : delivery.headers) {
    check_header(name, value, !signer_.empty());
    headers_.emplace_back(name, parse(fmt::format("headers.{}", name), value, Template::Use::header));
  }
}

http::Call Caller::call(const Context& context) const {
  const TaskValues values{context.task(), context.attempt()};
  http::Call call{.method = delivery_.method,
                  .url = url_.render(values),
                  .timeout = to_milliseconds(delivery_.timeout),
                  .response_bytes_max = delivery_.response_bytes_max,
                  .stop = context.stop_token()};
  if (call.method != "GET" && call.method != "HEAD") call.body = body_.render(values);
  for (const auto& [name, value] : headers_) call.headers.emplace_back(name, value.render(values));
  for (auto& [name, value] : standard_headers(context.task(), context.attempt(), call.body)) {
    const std::string lower = http::lower_case(name);
    const bool given = std::any_of(headers_.begin(), headers_.end(), [&](const auto& header) {
      return http::lower_case(header.first) == lower;
    });
    if (!given) call.headers.emplace_back(std::move(name), std::move(value));
  }
  return call;
}

http::Headers Caller::standard_headers(const Task& task, int attempt, const std::string& body) const {
  http::Headers headers = {{"User-Agent", fmt::format("tidemill/{}", version())},
                           {"Idempotency-Key", task.ref.id},
                           {"Tidemill-Id", task.ref.id},
                           {"Tidemill-Kind", task.kind},
                           {"Tidemill-Queue", task.ref.queue},
                           {"Tidemill-Attempt", fmt::format("{}", attempt)}};
  if (!body.empty())
    headers.emplace_back("Content-Type", is_json(body) ? "application/json" : "application/octet-stream");
  for (const char* name : {"traceparent", "tracestate"}) {
    const auto found = task.headers.find(name);
    if (found != task.headers.end()) headers.emplace_back(*found);
  }
  if (!signer_.empty()) {
    const auto now = std::chrono::floor<std::chrono::seconds>(Clock::system().now());
    const std::int64_t timestamp = now.time_since_epoch().count();
    headers.emplace_back("webhook-id", task.ref.id);
    headers.emplace_back("webhook-timestamp", fmt::format("{}", timestamp));
    headers.emplace_back("webhook-signature", signer_.sign(task.ref.id, timestamp, body));
  }
  return headers;
}

/// A call that is on its way. Ends on the client's thread.
struct Flight {
  Context context;
  Completion completion;
  const std::string name;
  const Steady::time_point begun = Steady::now();

  void end(http::CallResult result) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - begun);
    const bool good = result.status / 100 == 2;
    const std::string cut =
        result.body_cut ? fmt::format(", cut to {} bytes", result.body.size()) : std::string{};
    context.log(good ? Level::info : Level::warning,
                result.status == 0
                    ? fmt::format("{}: no answer after {} ms", name, took.count())
                    : fmt::format("{}: {} in {} ms{}", name, result.status, took.count(), cut));
    completion(outcome_of(std::move(result), name, Clock::system().now()));
  }
};

}  // namespace

void check_network(const std::string& text) {
  try {
    (void)http::Network::parse(text);
  } catch (const std::invalid_argument& error) {
    refuse(error.what());
  }
}

std::vector<std::string> faults_of(const HttpDelivery& delivery) {
  std::vector<std::string> faults;
  // Each part in a delivery that is right otherwise.
  const auto add = [&](auto set) {
    HttpDelivery part{.url = "http://localhost/"};
    set(part);
    try {
      const Caller caller{part};
    } catch (const Error& error) {
      faults.emplace_back(error.what());
    }
  };
  add([&](HttpDelivery& part) { part.url = delivery.url; });
  add([&](HttpDelivery& part) { part.method = delivery.method; });
  add([&](HttpDelivery& part) { part.body = delivery.body; });
  add([&](HttpDelivery& part) { part.timeout = delivery.timeout; });
  const std::size_t before = faults.size();
  add([&](HttpDelivery& part) { part.secrets = delivery.secrets; });
  const bool can_sign = faults.size() == before;
  for (const auto& header : delivery.headers) {
    add([&](HttpDelivery& part) {
      part.headers = {header};
      if (can_sign) part.secrets = delivery.secrets;
    });
  }
  return faults;
}

Handler http_handler(const HttpDelivery& delivery, http::Client& client) {
  return [caller = std::make_shared<const Caller>(delivery), &client](Context& context) {
    http::Call call;
    std::string name;
    try {
      call = caller->call(context);
      name = fmt::format("{} {}", call.method, checked_target(call.url).shown());
    } catch (const Error& error) {
      // A failure, and no word of the caller's own: the next version of the delivery may suit the task.
      return Outcome::failure(error.what());
    }
    auto flight = std::make_shared<Flight>(Flight{context, context.defer(), std::move(name)});
    client.send(std::move(call), [flight](http::CallResult result) { flight->end(std::move(result)); });
    return Outcome::deferred();
  };
}

}  // namespace tidemill::deliver
