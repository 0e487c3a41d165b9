#pragma once

#include <tidemill/handler.hpp>

#include "deliver/options.hpp"
#include "drivers/http/client.hpp"

namespace tidemill::deliver {

/// A handler that calls a URL and ends when the answer is there; no thread waits for it. When the attempt is
/// stopped, the call is cancelled. GET and HEAD have no body.
///
/// Beside the headers of the delivery, which win, the call has User-Agent, Content-Type, Idempotency-Key,
/// Tidemill-Id, -Kind, -Queue and -Attempt, the task's traceparent and tracestate, and with secrets
/// webhook-id, webhook-timestamp and webhook-signature. What an answer means: answer.hpp.
///
/// `client` must outlive the handler and its attempts. Throws Error{invalid} that names the part of the
/// delivery that is wrong ("url: column 8: …").
Handler http_handler(const HttpDelivery& delivery, http::Client& client);

/// Throws Error{invalid} when `text` is no network such as 10.0.0.0/8.
void check_network(const std::string& text);
/// All that `http_handler` would refuse, a part each; nothing when it would take the delivery.
std::vector<std::string> faults_of(const HttpDelivery& delivery);

}  // namespace tidemill::deliver
