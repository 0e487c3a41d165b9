#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/http/headers.hpp"

/// An HTTP/1.1 client that calls URLs which others may have written. One thread moves the bytes of all calls.
namespace tidemill::http {

struct ClientOptions {
  std::size_t in_flight_max = 10'000;
  /// Of one scheme, host and port; what is beyond waits, and holds up no other host.
  std::size_t per_host_max = 1'000;
  std::chrono::milliseconds connect_timeout{10'000};  ///< From looking up the name to the end of TLS.
  /// Networks ("10.0.0.0/8") that may be called although they are not public: address_guard.hpp.
  std::vector<std::string> allow_networks = {};
};

struct Call {
  std::string method = "POST";
  std::string url = {};
  Headers headers = {};
  std::string body = {};
  std::chrono::milliseconds timeout{30'000};  ///< From connecting to the answer's end; zero: none.
  std::size_t response_bytes_max = 64U << 10U;
  std::stop_token stop = {};  ///< Cancels the call.
};

/// Either an answer or an error.
struct CallResult {
  int status = 0;                ///< Zero: there is no answer.
  std::string reason = {};       ///< "Not Found", as the other side put it; may be empty.
  Headers headers = {};          ///< Names in lower case.
  std::string body = {};         ///< Up to response_bytes_max.
  bool body_cut = false;         ///< There was more of it.
  std::string error = {};        ///< What failed, for people; nothing of the URL but host and port.
  bool refused_address = false;  ///< The host has no address that may be called.
  bool sent = false;             ///< Of an error: the other side may have got the request.

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

/// Redirects are not followed, there are no proxies and no cookies, and an answer's headers may have 64 KiB.
/// Connections are kept and used again. A call may be sent twice: when a kept connection turns out to be
/// dead.
///
/// Thread safety: all members may be called from any thread, but `stop` and the destructor not from `done`.
class Client {
 public:
  /// Called once a call, on the client's thread: must not block or throw, and may call `send`.
  using Done = std::function<void(CallResult)>;

  /// Throws std::invalid_argument when a network is none, std::runtime_error when the system refuses a
  /// thread.
  explicit Client(ClientOptions options);
  /// As `stop`.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Throws nothing about the call: what is wrong with it, `done` is told. After `stop` it is told at once,
  /// in the caller's thread.
  void send(Call call, Done done);

  /// Of each scheme, host and port that has calls now, by name: "https://example.com:443".
  struct HostLoad {
    std::string host = {};
    std::size_t in_flight = 0;
    std::size_t waiting = 0;
  };
  /// Waits for the client's thread, which never blocks; empty after `stop`. Not to be called from `done`.
  std::vector<HostLoad> load();

  /// Ends all calls with an error; returns when all have been told. May be called twice.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::http
